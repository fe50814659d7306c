// The tiles of outputs that workgroups of the shared class compute; matmul_shared.wgsl says how.

import { type Grid, gridFor } from "./runtime/mod.ts";

/** A tile of outputs, and the invocations that share it: each owns 4 · rowQuads × 8 of them. */
export interface SharedTile {
  /** `64×128`: rows by columns. */
  readonly name: string;
  /** Rows of outputs. */
  readonly rows: number;
  /** Columns of outputs. */
  readonly columns: number;
  /** Invocations. */
  readonly threads: number;
  /** Share of the adapter's rate that a full grid of such tiles is expected to reach. */
  readonly efficiency: number;
  /** The `override` constants of the WGSL. */
  readonly constants: Readonly<Record<"THREAD_ROWS" | "THREAD_COLUMNS" | "ROW_QUADS", number>>;
}

/** A larger tile reads memory less often, a smaller one fits small outputs and fills more of an adapter. */
export const SHARED_TILES: readonly SharedTile[] = [
  sharedTile(16, 16, 2, 1),
  sharedTile(8, 16, 2, 0.9),
  sharedTile(8, 8, 2, 0.8),
  sharedTile(8, 8, 1, 0.6),
];

function sharedTile(
  threadRows: number,
  threadColumns: number,
  rowQuads: number,
  efficiency: number,
): SharedTile {
  const [rows, columns] = [threadRows * rowQuads * 4, threadColumns * 8];
  return {
    name: `${rows}×${columns}`,
    rows,
    columns,
    threads: threadRows * threadColumns,
    efficiency,
    constants: { THREAD_ROWS: threadRows, THREAD_COLUMNS: threadColumns, ROW_QUADS: rowQuads },
  };
}

/** The tiles by name, for `gpu.choices`. */
export const TILES_BY_NAME: ReadonlyMap<string, SharedTile> = new Map(
  SHARED_TILES.map((tile) => [tile.name, tile]),
);

/** Invocations that fill a large adapter: 128 cores of 256 each. */
export const ENOUGH_THREADS = 2 ** 15;

/** Tiles that cover `rows` × `columns` outputs, `batch` times. */
export function tileCount(tile: SharedTile, rows: number, columns: number, batch = 1): number {
  return Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns) * batch;
}

/** The tile expected to compute `rows` × `columns` outputs, `batch` times, the fastest. */
export function fittingTile(rows: number, columns: number, batch = 1): SharedTile {
  const cost = (tile: SharedTile) => {
    const tiles = tileCount(tile, rows, columns, batch);
    const filled = Math.min(1, tiles * tile.threads / ENOUGH_THREADS);
    return tiles * tile.rows * tile.columns / (tile.efficiency * filled);
  };
  return SHARED_TILES.reduce((best, tile) => cost(tile) < cost(best) ? tile : best);
}

/** Desktops reset a GPU that is busy for long: 0.1 s of one at 10^12 operations a second. */
const MOST_FLOPS = 1e11;

/**
 * Splits a grid of one workgroup a tile into dispatches that stay short.
 *
 * @param depth Products that are summed in each output.
 * @param run Dispatches the tiles from `firstTile` up to `endTile`.
 */
export function byTiles(
  tile: SharedTile,
  tiles: number,
  depth: number,
  run: (firstTile: number, endTile: number, grid: Grid) => void,
): void {
  const step = Math.max(1, Math.floor(MOST_FLOPS / (2 * tile.rows * tile.columns * depth)));
  for (let first = 0; first < tiles; first += step) {
    const end = Math.min(first + step, tiles);
    run(first, end, gridFor(end - first, 1));
  }
}
