// Gradients of a convolution to its weight and bias for GPUs: by tiles in workgroup memory, from
// images as they are; formulas in the WGSL.

import type { Accumulator } from "../accumulator.ts";
import { conv2dFlops, type Conv2dSizes } from "./conv2d_shape.ts";
import source from "./conv2d_weight_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch, type Gpu, type GpuArray, gridFor } from "../runtime/mod.ts";
import {
  byTiles,
  defineTileKernels,
  type Extent,
  type SharedTile,
  TILE_PARAMS,
  tileChoice,
  tilingOf,
} from "./shared_tiles.ts";

const shared = { file: "kernels/dense/conv2d_weight_shared.wgsl", source } as const;
const kernelOf = defineTileKernels({
  ...shared,
  name: "conv2d_shared.weight_gradient",
  entry: "accumulate_products",
  reads: ["x", "gradOutput"],
  writes: ["parts"],
  params: {
    positions: "u32",
    inChannels: "u32",
    inHeight: "u32",
    inWidth: "u32",
    outChannels: "u32",
    outHeight: "u32",
    outWidth: "u32",
    tapColumns: "u32",
    columns: "u32",
    stride: "u32",
    padding: "u32",
    dilation: "u32",
    ...TILE_PARAMS,
  },
});
const biasKernel = defineKernel({
  ...shared,
  name: "conv2d_shared.bias_gradient",
  entry: "sum_bias",
  reads: ["gradOutput"],
  writes: ["gradBias"],
  paramsVariable: "bias_params",
  params: { images: "u32", channels: "u32", plane: "u32", accumulate: "u32" },
});

/** Arrays that a weight gradient is computed from. */
interface Sources {
  /** [N, O, H', W']. */
  readonly gradOutput: GpuArray;
  /** [N, C, H, W]. */
  readonly x: GpuArray;
}

/**
 * The weight gradient of a convolution in the shared class.
 *
 * @param total Adds the parts, [splits, O, taps · input quads, 4], to the gradient.
 */
export function weightGradientShared(
  { gradOutput, x }: Sources,
  to: Accumulator,
  sizes: Conv2dSizes,
  total: (parts: GpuArray, to: Accumulator) => void,
): void {
  const run = (tile: SharedTile, sources: Sources, to: Accumulator) => {
    const parts = weightParts(tile, sources, sizes);
    total(parts, to);
    parts.release();
  };
  const tile = x.gpu.choices.choose({
    ...tileChoice(x.gpu, extentOf(x.gpu, sizes)),
    key: `conv2d_shared.weight_gradient ${Object.values(sizes).join(" ")}`,
    arrays: [gradOutput, x, to.array],
    run: (tile, [gradOutput, x, array]) => run(tile, { gradOutput, x }, { ...to, array }),
  });
  run(tile, { gradOutput, x }, to);
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
  { gradOutput, x }: Sources,
  sizes: Conv2dSizes,
): GpuArray {
  const { gpu } = x;
  const { outChannels } = sizes;
  const extent = extentOf(gpu, sizes);
  const tiling = tilingOf(tile, extent);
  const columns = extent.columns / 4;
  const shape = [tiling.splits, outChannels, columns, 4];
  const parts = gpu.empty(shape, "parts of a weight gradient");
  byTiles(tile, tiling, conv2dFlops(sizes), (params, grid, options) =>
    dispatch(
      kernelOf(tile, sizes.precision),
      { x, gradOutput, parts },
      { ...sizes, positions: extent.depth, columns, ...params },
      grid,
      options,
    ));
  return parts;
}

/** The bias gradient of a convolution, from gradOutput [N, O, H', W'], in the shared class. */
export function biasGradientShared(
  gradOutput: GpuArray,
  { array: gradBias, accumulate }: Accumulator,
): void {
  const [images, channels, height, width] = gradOutput.shape as [number, number, number, number];
  const params = { images, channels, plane: height * width, accumulate: accumulate ? 1 : 0 };
  dispatch(biasKernel, { gradOutput, gradBias }, params, gridFor(channels, 1));
}
