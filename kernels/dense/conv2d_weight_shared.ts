// The first pass of a weight gradient by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import { conv2dFlops, type Conv2dSizes } from "./conv2d_shape.ts";
import source from "./conv2d_weight_shared.wgsl" with { type: "text" };
import { dispatch, type Gpu, type GpuArray } from "../runtime/mod.ts";
import {
  byTiles,
  defineTileKernels,
  type Extent,
  type SharedTile,
  TILE_PARAMS,
  tileChoice,
  tilingOf,
} from "./shared_tiles.ts";

const kernelOf = defineTileKernels({
  name: "conv2d_shared.weight_gradient",
  file: "kernels/dense/conv2d_weight_shared.wgsl",
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
    ...TILE_PARAMS,
  },
});

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
  const run = (tile: SharedTile, { gradOutput, x, gradWeight }: WeightGradientArrays) => {
    const parts = weightParts(tile, gradOutput, x, sizes);
    total(parts, gradWeight);
    parts.release();
  };
  const tile = x.gpu.choices.choose({
    ...tileChoice(x.gpu, extentOf(x.gpu, sizes)),
    key: `conv2d_shared.weight_gradient ${Object.values(sizes).join(" ")}`,
    arrays: [gradOutput, x, gradWeight],
    run: (tile, [gradOutput, x, gradWeight]) => run(tile, { gradOutput, x, gradWeight }),
  });
  run(tile, arrays);
}

function extentOf(gpu: Gpu, sizes: Conv2dSizes): Extent {
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  const columns = tapRows * tapColumns * Math.ceil(inChannels / 4) * 4;
  return {
    rows: outChannels,
    columns,
    batch: 1,
    depth: images * outHeight * outWidth,
    mostSplits: Math.max(1, Math.floor(gpu.maxBindingBytes / (outChannels * columns * 4))),
  };
}

function weightParts(
  tile: SharedTile,
  gradOutput: GpuArray,
  x: GpuArray,
  sizes: Conv2dSizes,
): GpuArray {
  const { gpu } = x;
  const { outChannels, inChannels } = sizes;
  const extent = extentOf(gpu, sizes);
  const tiling = tilingOf(tile, extent);
  const columns = extent.columns / 4;
  const shape = [tiling.splits, outChannels, columns, 4];
  const parts = gpu.empty(shape, "parts of a weight gradient");
  const inQuads = Math.ceil(inChannels / 4);
  byTiles(tile, tiling, conv2dFlops(sizes), (params, grid, options) =>
    dispatch(
      kernelOf(tile),
      { x, gradOutput, parts },
      { ...sizes, positions: extent.depth, inQuads, columns, ...params },
      grid,
      options,
    ));
  return parts;
}
