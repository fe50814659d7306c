// The tiles of outputs that workgroups of the shared class compute; matmul_shared.wgsl says how.

import {
  defineKernel,
  type DispatchOptions,
  type Grid,
  gridFor,
  type Kernel,
  type KernelDefinition,
  wgslConstants,
} from "../runtime/mod.ts";

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

/**
 * A larger tile reads memory less often, a smaller one fits small outputs and fills more of an
 * adapter.
 */
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

/**
 * The kernels of a WGSL file that takes tiles, one for each.
 *
 * @param definition As for `defineKernel`, but for the tile's constants.
 * @throws {TypeError} If the WGSL takes other tiles, or sums other than {@link DEPTH} terms at
 *   once.
 */
export function defineTileKernels<
  const R extends string,
  const W extends string,
  const P extends string,
>(
  definition: Omit<KernelDefinition<R, W, P>, "constants">,
): (tile: SharedTile) => Kernel<R | W, P> {
  const kernels = new Map(SHARED_TILES.map((tile) => {
    const name = `${definition.name} ${tile.name}`;
    const kernel = defineKernel({ ...definition, name, constants: tile.constants });
    checkTile(tile, kernel);
    return [tile, kernel];
  }));
  return (tile) => kernels.get(tile) as Kernel<R | W, P>;
}

function checkTile({ name, rows, columns, threads }: SharedTile, kernel: Kernel): void {
  const { LEFT_QUADS, RIGHT_QUADS, DEPTH: depth } = wgslConstants(
    kernel,
    "LEFT_QUADS",
    "RIGHT_QUADS",
    "DEPTH",
  );
  const found = [LEFT_QUADS * 4, RIGHT_QUADS * 4, kernel.workgroupSize, depth].join(", ");
  const expected = [rows, columns, threads, DEPTH].join(", ");
  if (found !== expected) {
    throw new TypeError(
      `Cannot define ${kernel.name} as ${kernel.file} takes other tiles than ${name}: rows, columns, ` +
        `invocations and terms at once are ${found}, not ${expected}`,
    );
  }
}

/** The tiles by name, for `gpu.choices`. */
export const TILES_BY_NAME: ReadonlyMap<string, SharedTile> = new Map(
  SHARED_TILES.map((tile) => [tile.name, tile]),
);

/** Invocations that fill a large adapter: 128 cores of 256 each. */
const ENOUGH_THREADS = 2 ** 15;
/** The fewest terms of a part of a sum, as every part is written and read once more. */
const SHORTEST_SPLIT = 256;
/** Terms that the WGSL sums at once. */
const DEPTH = 8;
/** Desktops reset a GPU that is busy for long: 0.1 s of one at 10^12 operations per second. */
const MOST_FLOPS = 1e11;

/** The sums that tiles are to cover. */
export interface Extent {
  /** Rows of outputs. */
  readonly rows: number;
  /** Columns of outputs. */
  readonly columns: number;
  /** How many times there are as many. */
  readonly batch: number;
  /** Terms of the sum in each output. */
  readonly depth: number;
  /** Parts that a sum may be split into. */
  readonly mostSplits: number;
}

/** How tiles cover an extent: tiles of one split before those of the next. */
export interface Tiling {
  /** Tiles in all. */
  readonly tiles: number;
  /** Parts of every sum, more than one where whole sums would leave most of an adapter idle. */
  readonly splits: number;
  /** Terms of a part, a multiple of what is summed at once; the last part may have fewer. */
  readonly termsPerSplit: number;
}

/** Covers an extent with tiles. */
export function tilingOf(tile: SharedTile, extent: Extent): Tiling {
  const { rows, columns, batch, depth, mostSplits } = extent;
  const whole = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns) * batch;
  const wanted = Math.ceil(ENOUGH_THREADS / (whole * tile.threads));
  const parts = Math.max(1, Math.min(wanted, mostSplits, Math.floor(depth / SHORTEST_SPLIT)));
  const termsPerSplit = Math.ceil(depth / parts / DEPTH) * DEPTH;
  const splits = Math.max(1, Math.ceil(depth / termsPerSplit));
  return { tiles: whole * splits, splits, termsPerSplit };
}

/** The tile expected to cover an extent the fastest. */
export function fittingTile(extent: Extent): SharedTile {
  const cost = (tile: SharedTile) => {
    const { tiles, termsPerSplit } = tilingOf(tile, extent);
    const filled = Math.min(1, tiles * tile.threads / ENOUGH_THREADS);
    return tiles * termsPerSplit * tile.rows * tile.columns / (tile.efficiency * filled);
  };
  return SHARED_TILES.reduce((best, tile) => cost(tile) < cost(best) ? tile : best);
}

/** Parameters of the WGSL that say which tiles a dispatch computes. */
export const TILE_PARAMS = { termsPerSplit: "u32", firstTile: "u32", endTile: "u32" } as const;

/**
 * Splits a grid of one workgroup a tile into dispatches that stay short.
 *
 * @param flops Floating-point operations of all of them.
 * @param run Dispatches some of the tiles.
 */
export function byTiles(
  tile: SharedTile,
  { tiles, termsPerSplit }: Tiling,
  flops: number,
  run: (
    params: Readonly<Record<keyof typeof TILE_PARAMS, number>>,
    grid: Grid,
    options: DispatchOptions,
  ) => void,
): void {
  const flopsOfTile = 2 * tile.rows * tile.columns * termsPerSplit;
  const step = Math.max(1, Math.floor(MOST_FLOPS / flopsOfTile));
  for (let firstTile = 0; firstTile < tiles; firstTile += step) {
    const endTile = Math.min(firstTile + step, tiles);
    const count = endTile - firstTile;
    run({ termsPerSplit, firstTile, endTile }, gridFor(count, 1), { flops: flops * count / tiles });
  }
}
