// The first pass of a weight gradient by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import { conv2dFlops, type Conv2dSizes } from "./conv2d_shape.ts";
import source from "./conv2d_weight_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import { byTiles, ENOUGH_THREADS, fittingTile, SHARED_TILES, tileCount } from "./shared_tiles.ts";

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

/**
 * Parts of the gradient to a convolution's weight.
 *
 * @param gradOutput Pixel-major, [N, 1, H'·W', O up to a multiple of 4].
 * @param x Pixel-major, [N, 1, H·W, C up to a multiple of 4].
 * @returns [splits, O, taps · input quads, 4], to be added over the splits.
 */
export function weightPartsShared(
  gradOutput: GpuArray,
  x: GpuArray,
  sizes: Conv2dSizes,
): GpuArray {
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  const inQuads = Math.ceil(inChannels / 4);
  const columns = tapRows * tapColumns * inQuads;
  const positions = images * outHeight * outWidth;
  // Splits are to fill the adapter, so the tile may be large where the sum is long.
  const longest = Math.ceil(positions / SHORTEST_SPLIT);
  const most = Math.max(1, Math.floor(x.gpu.maxBindingBytes / (outChannels * columns * 16)));
  const tile = fittingTile(outChannels, columns * 4, Math.min(longest, most));
  const tilesOfSplit = tileCount(tile, outChannels, columns * 4);
  const wanted = Math.ceil(ENOUGH_THREADS / (tilesOfSplit * tile.threads));
  const positionsPerSplit = Math.ceil(positions / Math.min(wanted, longest, most));
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
