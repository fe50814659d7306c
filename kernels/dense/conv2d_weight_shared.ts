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
const totalKernel = defineKernel({
  ...shared,
  name: "conv2d_shared.parameter_total",
  entry: "total",
  reads: ["allParts", "gradOutput"],
  writes: ["gradients"],
  paramsVariable: "total_params",
  params: {
    inChannels: "u32",
    outChannels: "u32",
    taps: "u32",
    splits: "u32",
    weightGroups: "u32",
    weightStart: "u32",
    images: "u32",
    plane: "u32",
    biasChannels: "u32",
    biasStart: "u32",
    accumulate: "u32",
  },
});

/** What the gradients of a convolution's parameters are computed from, and where to; null for none. */
export interface ParameterGradientArrays {
  /** [N, O, H', W']. */
  readonly gradOutput: GpuArray;
  /** [N, C, H, W]. */
  readonly x: GpuArray;
  /** [O, C, rows, columns]. */
  readonly weight: Accumulator | null;
  /** [O]. */
  readonly bias: Accumulator | null;
}

/** The gradients of a convolution's parameters in the shared class. */
export function parameterGradientsShared(
  { gradOutput, x, weight, bias }: ParameterGradientArrays,
  sizes: Conv2dSizes,
): void {
  const { gpu } = x;
  if (!weight) {
    if (!bias) return;
    using none = gpu.empty([4], "no parts of a weight gradient");
    return total(none, gradOutput, null, bias, sizes);
  }
  const tile = gpu.choices.choose({
    ...tileChoice(gpu, extentOf(gpu, sizes), sizes.precision),
    key: `conv2d_shared.weight_gradient ${Object.values(sizes).join(" ")}`,
    arrays: [gradOutput, x, weight.array],
    run: (tile, [gradOutput, x, array]) => {
      using parts = weightParts(tile, gradOutput, x, sizes);
      total(parts, gradOutput, { array, accumulate: false }, null, sizes);
    },
  });
  using parts = weightParts(tile, gradOutput, x, sizes);
  total(parts, gradOutput, weight, bias, sizes);
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

/** Parts of a weight gradient, [splits, O, taps · input quads, 4]. */
function weightParts(
  tile: SharedTile,
  gradOutput: GpuArray,
  x: GpuArray,
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

/**
 * Adds the parts of a weight gradient and sums a bias gradient, in one dispatch where one binding
 * shows both.
 *
 * @param parts Any array of a quad or more where there is no weight.
 */
function total(
  parts: GpuArray,
  gradOutput: GpuArray,
  weight: Accumulator | null,
  bias: Accumulator | null,
  sizes: Conv2dSizes,
): void {
  using gradients = spanOf(weight, bias);
  if (!gradients) {
    total(parts, gradOutput, weight, null, sizes);
    total(parts, gradOutput, null, bias, sizes);
    return;
  }
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  const taps = tapRows * tapColumns;
  const columns = weight ? outChannels * taps * Math.ceil(inChannels / 4) : 0;
  const weightGroups = Math.ceil(columns / totalKernel.workgroupSize);
  const biasChannels = bias ? outChannels : 0;
  const startOf = (to: Accumulator | null) =>
    to ? (to.array.byteOffset - gradients.byteOffset) / 4 : 0;
  // What is missing has a binding that is never read.
  dispatch(totalKernel, { allParts: parts, gradOutput: bias ? gradOutput : parts, gradients }, {
    inChannels,
    outChannels,
    taps,
    splits: weight ? parts.shape[0] as number : 0,
    weightGroups,
    weightStart: startOf(weight),
    images,
    plane: outHeight * outWidth,
    biasChannels,
    biasStart: startOf(bias),
    accumulate: (weight ?? bias)?.accumulate ? 1 : 0,
  }, gridFor(weightGroups + biasChannels, 1));
}

/** What shows both gradients, or the only one; null where no binding does. */
function spanOf(weight: Accumulator | null, bias: Accumulator | null): GpuArray | null {
  if (!weight || !bias) return (weight ?? bias)?.array.retain() ?? null;
  const [a, b] = [weight.array, bias.array];
  if (a.storage !== b.storage || weight.accumulate !== bias.accumulate) return null;
  const start = Math.min(a.byteOffset, b.byteOffset);
  const end = Math.max(a.byteOffset + a.byteLength, b.byteOffset + b.byteLength);
  return end - start > a.gpu.maxBindingBytes ? null : a.stretch(start, (end - start) / 4);
}
