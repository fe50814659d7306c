// The first pass of a weight gradient by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import { conv2dFlops, type Conv2dSizes } from "./conv2d_shape.ts";
import source from "./conv2d_weight_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import {
  byTiles,
  ENOUGH_THREADS,
  fittingTile,
  SHARED_TILES,
  type SharedTile,
  tileCount,
  TILES_BY_NAME,
} from "./shared_tiles.ts";

/** The fewest positions that a workgroup sums, as every split is written and read once more. */
const SHORTEST_SPLIT = 256;

const kernels = new Map(SHARED_TILES.map((tile) => [
  tile,
  defineKernel({
    name: `conv2d_shared.weight_gradient ${tile.name}`,
    file: "kernels/conv2d_weight_shared.wgsl",
    source,
    entry: "accumulate_products",
    reads: ["x", "gradOutput"],
    writes: ["parts"],
    params: {
      positions: "u32",
      inHeight: "u32",
      inWidth: "u32",
      inQuads: "u32",
      outChannels: "u32",
      outHeight: "u32",
      outWidth: "u32",
      tapColumns: "u32",
      columns: "u32",
      stride: "i32",
      padding: "i32",
      dilation: "i32",
      positionsPerSplit: "u32",
      firstTile: "u32",
      endTile: "u32",
    },
    constants: tile.constants,
  }),
]));

/** Arrays of a weight gradient. */
export interface WeightGradientArrays {
  /** Pixel-major, [N, 1, H'·W', O up to a multiple of 4]. */
  readonly gradOutput: GpuArray;
  /** Pixel-major, [N, 1, H·W, C up to a multiple of 4]. */
  readonly x: GpuArray;
  /** Output, [O, C, rows, columns]. */
  readonly gradWeight: GpuArray;
}

/**
 * `weightGradient` of conv2d_weight.ts in the shared class.
 *
 * @param total Adds the parts, [splits, O, taps · input quads, 4], into the gradient.
 */
export function weightGradientShared(
  arrays: WeightGradientArrays,
  sizes: Conv2dSizes,
  total: (parts: GpuArray, gradWeight: GpuArray) => void,
): void {
  const { gradOutput, x, gradWeight } = arrays;
  const { columns, mostSplits } = extentOf(x, sizes);
  const run = (tile: SharedTile, { gradOutput, x, gradWeight }: WeightGradientArrays) => {
    const parts = weightParts(tile, gradOutput, x, sizes);
    total(parts, gradWeight);
    parts.release();
  };
  const tile = x.gpu.choices.choose({
    key: `conv2d_shared.weight_gradient ${Object.values(sizes).join(" ")}`,
    candidates: TILES_BY_NAME,
    expected: fittingTile(sizes.outChannels, columns * 4, mostSplits).name,
    arrays: [gradOutput, x, gradWeight],
    run: (tile, [gradOutput, x, gradWeight]) => run(tile, { gradOutput, x, gradWeight }),
  });
  run(tile, arrays);
}

function extentOf({ gpu }: GpuArray, sizes: Conv2dSizes) {
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  const inQuads = Math.ceil(inChannels / 4);
  const columns = tapRows * tapColumns * inQuads;
  const positions = images * outHeight * outWidth;
  const fitting = Math.max(1, Math.floor(gpu.maxBindingBytes / (outChannels * columns * 16)));
  const mostSplits = Math.min(fitting, Math.ceil(positions / SHORTEST_SPLIT));
  return { inQuads, columns, positions, mostSplits };
}

function weightParts(
  tile: SharedTile,
  gradOutput: GpuArray,
  x: GpuArray,
  sizes: Conv2dSizes,
): GpuArray {
  const { outChannels } = sizes;
  const { inQuads, columns, positions, mostSplits } = extentOf(x, sizes);
  const tilesOfSplit = tileCount(tile, outChannels, columns * 4);
  const wanted = Math.ceil(ENOUGH_THREADS / (tilesOfSplit * tile.threads));
  const positionsPerSplit = Math.ceil(positions / Math.min(wanted, mostSplits));
  const splits = Math.ceil(positions / positionsPerSplit);
  const parts = x.gpu.empty([splits, outChannels, columns, 4], "parts of a weight gradient");
  const tiles = tilesOfSplit * splits;
  const flops = conv2dFlops(sizes);
  byTiles(tile, tiles, positionsPerSplit, (firstTile, endTile, grid) =>
    dispatch(
      kernels.get(tile)!,
      { x, gradOutput, parts },
      { ...sizes, positions, inQuads, columns, positionsPerSplit, firstTile, endTile },
      grid,
      { flops: flops * (endTile - firstTile) / tiles },
    ));
  return parts;
}
