// The tiles of outputs that workgroups of the shared class compute; matmul_shared.wgsl says how.

import {
  defineKernel,
  type DispatchOptions,
  type Gpu,
  GpuError,
  type Grid,
  gridFor,
  type Kernel,
  type KernelDefinition,
  MOST_FLOPS,
  type Precision,
  type Ways,
  wgslConstants,
} from "../runtime/mod.ts";

/** A tile of outputs, and the invocations that share it: each owns 4 · rowQuads × 8 of them. */
export interface SharedTile {
  /** `64×128`: rows by columns, and what an invocation owns where another tile has as many. */
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
 * adapter. Where an invocation owns fewer outputs, it reads workgroup memory more often, and takes
 * fewer registers.
 */
export const SHARED_TILES: readonly SharedTile[] = [
  sharedTile("128×128", 16, 16, 2, 1),
  sharedTile("64×128", 8, 16, 2, 0.9),
  sharedTile("64×64", 8, 8, 2, 0.8),
  sharedTile("64×128 of 4×8", 16, 16, 1, 0.75),
  sharedTile("64×64 of 4×8", 16, 8, 1, 0.7),
  sharedTile("32×64", 8, 8, 1, 0.6),
];

function sharedTile(
  name: string,
  threadRows: number,
  threadColumns: number,
  rowQuads: number,
  efficiency: number,
): SharedTile {
  return {
    name,
    rows: threadRows * rowQuads * 4,
    columns: threadColumns * 8,
    threads: threadRows * threadColumns,
    efficiency,
    constants: { THREAD_ROWS: threadRows, THREAD_COLUMNS: threadColumns, ROW_QUADS: rowQuads },
  };
}

/**
 * The kernels of a WGSL file that takes tiles, one for each and for each precision of its products.
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
): (tile: SharedTile, precision: Precision) => Kernel<R | W, P> {
  const defined = (precision: Precision) =>
    new Map(SHARED_TILES.map((tile) => {
      const inHalves = precision === "f16";
      const kernel = defineKernel({
        ...definition,
        name: `${definition.name} ${tile.name}${inHalves ? " f16" : ""}`,
        constants: { ...tile.constants, IN_HALVES: Number(inHalves) },
        element: precision,
      });
      checkTile(tile, kernel);
      return [tile, kernel];
    }));
  const kernels = { f32: defined("f32"), f16: defined("f16") };
  return (tile, precision) => kernels[precision].get(tile) as Kernel<R | W, P>;
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

const TILES_BY_NAME: ReadonlyMap<string, SharedTile> = new Map(
  SHARED_TILES.map((tile) => [tile.name, tile]),
);

/** Terms that the WGSL sums at once. */
const DEPTH = 8;
/** Processors of a large adapter; WebGPU does not tell how many there are. */
const PROCESSORS = 128;
/**
 * Invocations that a processor loses: so many wait where there are no others to go on with, and at
 * the end of a dispatch a processor has on average half of its workgroups left.
 */
const IDLE_THREADS = 128;
/** Terms in whose time a workgroup starts, waits for its first operands, and writes its sums. */
const TERMS_OF_A_TILE = 16;
/** The fewest terms of a part of a sum. */
const SHORTEST_SPLIT = 256;
/** The most bytes of all parts of sums together. */
const MOST_PART_BYTES = 2 ** 26;
/** Products in the time that one byte takes from or to memory, on a large adapter. */
const PRODUCTS_PER_BYTE = 8;
/** Products in the time that one more dispatch takes: 8 µs of 16 · 10^12 a second. */
const PRODUCTS_PER_DISPATCH = 2 ** 27;

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

/** Covers an extent with tiles, and splits sums into as many parts as are expected to pay. */
export function tilingOf(tile: SharedTile, extent: Extent): Tiling {
  const { depth, mostSplits } = extent;
  const bytes = 4 * outputsOf(extent);
  const most = Math.min(mostSplits, depth / SHORTEST_SPLIT, MOST_PART_BYTES / bytes);
  let best = splitInto(1, tile, extent);
  for (let parts = 2; parts <= most; parts++) {
    const tiling = splitInto(parts, tile, extent);
    if (costOf(tile, extent, tiling) >= costOf(tile, extent, best)) break;
    best = tiling;
  }
  return best;
}

function splitInto(parts: number, tile: SharedTile, extent: Extent): Tiling {
  const { rows, columns, batch, depth } = extent;
  const whole = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns) * batch;
  const termsPerSplit = Math.ceil(depth / parts / DEPTH) * DEPTH;
  const splits = Math.max(1, Math.ceil(depth / termsPerSplit));
  return { tiles: whole * splits, splits, termsPerSplit };
}

function outputsOf({ rows, columns, batch }: Extent): number {
  return rows * columns * batch;
}

/** Expected time, in products at the full rate of a large adapter. */
function costOf(
  tile: SharedTile,
  extent: Extent,
  { tiles, splits, termsPerSplit }: Tiling,
): number {
  const busy = Math.max(PROCESSORS, tiles) + PROCESSORS * IDLE_THREADS / tile.threads;
  const sums = busy * tile.rows * tile.columns * (termsPerSplit + TERMS_OF_A_TILE) /
    tile.efficiency;
  if (splits === 1) return sums;
  const moved = 2 * splits * outputsOf(extent) * 4; // written, and read to be added up
  return sums + moved * PRODUCTS_PER_BYTE + PRODUCTS_PER_DISPATCH;
}

/**
 * Which tile covers an extent, as a part of a problem for `gpu.choices`.
 *
 * @throws {GpuError} If the adapter has no numbers of that precision.
 */
export function tileChoice(gpu: Gpu, extent: Extent, precision: Precision): Ways<SharedTile> {
  if (precision === "f16" && !gpu.hasHalves) {
    throw new GpuError(
      `Cannot multiply in f16 on "${gpu.adapter.description}" as it has no 16-bit floats: use f32`,
    );
  }
  return {
    candidates: TILES_BY_NAME,
    expected: fittingTile(gpu, extent).name,
    cost: (name) => costOn(gpu, TILES_BY_NAME.get(name) as SharedTile, extent),
  };
}

function fittingTile(gpu: Gpu, extent: Extent): SharedTile {
  const costs = SHARED_TILES.map((tile) => costOn(gpu, tile, extent));
  return SHARED_TILES[costs.indexOf(Math.min(...costs))] as SharedTile;
}

/** Intel's GPUs, by their PCI id, as Vulkan and Direct3D tell it, or by name. */
const INTEL = /^(32902|intel)/i;
/**
 * Share of the rate that Intel's compiler leaves an invocation of 8 × 8 outputs, which need more
 * registers than it gives: it keeps some of them in memory.
 */
const SPILLED = 0.5;

function costOn(gpu: Gpu, tile: SharedTile, extent: Extent): number {
  const spills = tile.constants.ROW_QUADS > 1 && INTEL.test(gpu.adapter.vendor);
  return costOf(tile, extent, tilingOf(tile, extent)) / (spills ? SPILLED : 1);
}

/** Parameters of the WGSL that say which tiles a dispatch computes. */
export const TILE_PARAMS = { termsPerSplit: "u32", firstTile: "u32", endTile: "u32" } as const;

/**
 * Splits a grid of one workgroup a tile into equal dispatches that stay short.
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
  const dispatches = Math.ceil(tiles * flopsOfTile / MOST_FLOPS);
  const step = Math.ceil(tiles / dispatches);
  for (let firstTile = 0; firstTile < tiles; firstTile += step) {
    const endTile = Math.min(firstTile + step, tiles);
    const count = endTile - firstTile;
    run({ termsPerSplit, firstTile, endTile }, gridFor(count, 1), { flops: flops * count / tiles });
  }
}
