// Gradients of a convolution to its weight and bias; formulas in the WGSL.

import { type Accumulator, accumulatorFor } from "../accumulator.ts";
import { checkGradOutput } from "./conv2d.ts";
import {
  conv2dFlops,
  type Conv2dGeometry,
  type Conv2dSizes,
  conv2dSizes,
  SCRATCH_BYTES,
} from "./conv2d_shape.ts";
import source from "./conv2d_weight.wgsl" with { type: "text" };
import { type ParameterGradientArrays, parameterGradientsShared } from "./conv2d_weight_shared.ts";
import { pack } from "./matmul.ts";
import {
  defineKernel,
  dispatch,
  type Gpu,
  type GpuArray,
  type Shape,
  sliceByImage,
  wgslConstants,
} from "../runtime/mod.ts";
import { winogradChoice, winogradWeightGradient } from "./winograd.ts";
import type { WinogradForm } from "./winograd_form.ts";

/** Invocations of the first pass worth having: enough to fill an adapter, few enough to add up. */
const ENOUGH_INVOCATIONS = 256;
/** The fewest positions that one invocation adds to a bias. */
const SHORTEST_RUN = 64;

const shared = { file: "kernels/dense/conv2d_weight.wgsl", source } as const;
const { CHANNELS, COLUMNS } = wgslConstants(shared, "CHANNELS", "COLUMNS");
const productsKernel = defineKernel({
  ...shared,
  name: "conv2d.weight_gradient",
  entry: "accumulate_products",
  reads: ["x", "gradOutput"],
  writes: ["parts"],
  params: {
    images: "u32",
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
    splits: "u32",
    rowsPerSplit: "u32",
  },
});
const totalWeightKernel = defineKernel({
  ...shared,
  name: "conv2d.weight_total",
  entry: "total_weight",
  reads: ["parts"],
  writes: ["gradWeight"],
  paramsVariable: "total_params",
  params: {
    inChannels: "u32",
    inQuads: "u32",
    outChannels: "u32",
    taps: "u32",
    splits: "u32",
    accumulate: "u32",
  },
});
const biasParams = {
  channels: "u32",
  positions: "u32",
  run: "u32",
  runs: "u32",
  accumulate: "u32",
} as const;
const biasKernel = defineKernel({
  ...shared,
  name: "conv2d.bias_gradient",
  entry: "accumulate_bias",
  reads: ["gradOutput"],
  writes: ["parts"],
  paramsVariable: "bias_params",
  params: biasParams,
});
const totalBiasKernel = defineKernel({
  ...shared,
  name: "conv2d.bias_total",
  entry: "total_bias",
  reads: ["parts"],
  writes: ["gradBias"],
  paramsVariable: "bias_params",
  params: biasParams,
});

/** Which gradients to compute: none, in a new array, or in one that is given. */
export interface Conv2dParameterNeeds {
  /** Of the shape of the weight. */
  readonly weight: boolean | Accumulator;
  /** [O]. */
  readonly bias: boolean | Accumulator;
}

/** Gradients to a convolution's parameters; null where none was asked for. */
export interface Conv2dParameterGradients {
  /** Of the shape of the weight. */
  readonly weight: GpuArray | null;
  /** [O]. */
  readonly bias: GpuArray | null;
}

/**
 * Gradients of `conv2dForward` to its weight and its bias.
 *
 * @param gradOutput [N, O, H', W'].
 * @param x [N, C, H, W], the input of the forward.
 * @param weightShape [O, C, rows, columns].
 * @param needs Which of the two to compute, and where to.
 * @throws {TypeError} If the shapes do not fit each other.
 */
export function conv2dParameterGradients(
  gradOutput: GpuArray,
  x: GpuArray,
  weightShape: Shape,
  geometry: Conv2dGeometry,
  needs: Conv2dParameterNeeds,
): Conv2dParameterGradients {
  const sizes = conv2dSizes(x.shape, weightShape, geometry);
  checkGradOutput(gradOutput, sizes);
  const { gpu } = x;
  const empty = (shape: Shape, label: string) => () => gpu.empty(shape, label);
  const weight = accumulatorFor(needs.weight, empty(weightShape, "conv2d.weight_gradient"));
  const bias = accumulatorFor(needs.bias, empty([sizes.outChannels], "conv2d.bias_gradient"));
  const gradients = { weight: weight?.array ?? null, bias: bias?.array ?? null };
  if (gradOutput.size === 0 || x.size === 0) {
    for (const to of [weight, bias]) if (to && !to.accumulate) gpu.clear(to.array);
    return gradients;
  }
  const winograd = weight && gpu.choices.choose({
    ...winogradChoice(gpu, sizes, "weight"),
    key: `conv2d.weight_gradient ${gpu.kernelClass} ${Object.values(sizes).join(" ")}`,
    arrays: [gradOutput, x, weight.array],
    run: (winograd, [gradOutput, x, array]) => {
      const weight = { array, accumulate: false };
      parameterGradients({ gradOutput, x, weight, bias: null }, sizes, winograd);
    },
  });
  if (weight || bias) parameterGradients({ gradOutput, x, weight, bias }, sizes, winograd);
  return gradients;
}

function parameterGradients(
  { gradOutput, x, weight, bias }: ParameterGradientArrays,
  sizes: Conv2dSizes,
  winograd: WinogradForm | null,
): void {
  sliceByImage([gradOutput, x], [], ([gradOutput, x], _, first) => {
    const part = { ...sizes, images: x.shape[0] as number };
    const added = (to: Accumulator | null) => to && first > 0 ? { ...to, accumulate: true } : to;
    if (winograd && weight) {
      const accumulate = weight.accumulate || first > 0;
      const arrays = { gradOutput, x, gradWeight: weight.array };
      winogradWeightGradient(winograd, arrays, { ...part, accumulate });
    }
    const others = { gradOutput, x, weight: winograd ? null : added(weight), bias: added(bias) };
    if (x.gpu.kernelClass === "shared") parameterGradientsShared(others, part);
    else parameterGradientsDirect(others, part);
  });
}

function parameterGradientsDirect(
  { gradOutput, x, weight, bias }: ParameterGradientArrays,
  sizes: Conv2dSizes,
): void {
  if (!weight && !bias) return;
  const step = imagesAtOnce(x.gpu, sizes);
  for (let image = 0; image < sizes.images; image += step) {
    const part = { ...sizes, images: Math.min(step, sizes.images - image) };
    const gradPixels = pixelMajor(gradOutput, image, part.images);
    if (weight) {
      // Kept, as the branches of a head all take the same input.
      const inPixels = x.derived(
        `pixel-major ${image} ${part.images}`,
        () => pixelMajor(x, image, part.images),
      );
      const parts = weightParts(gradPixels, inPixels, part);
      total(parts, image > 0 ? { ...weight, accumulate: true } : weight, part);
      parts.release();
      inPixels.release();
    }
    if (bias) biasGradient(gradPixels, image > 0 ? { ...bias, accumulate: true } : bias);
    gradPixels.release();
  }
}

/** Images of which {@link pixelMajor} fits one binding and the scratch, at least one. */
function imagesAtOnce(gpu: Gpu, sizes: Conv2dSizes): number {
  const { inChannels, inHeight, inWidth, outChannels, outHeight, outWidth } = sizes;
  const input = Math.ceil(inChannels / 4) * inHeight * inWidth;
  const output = Math.ceil(outChannels / 4) * outHeight * outWidth;
  const bytes = Math.min(gpu.maxBindingBytes, SCRATCH_BYTES);
  return Math.max(1, Math.floor(bytes / (16 * Math.max(input, output))));
}

/** `count` images of [N, C, H, W] as [count, 1, H·W, C up to a multiple of 4]. */
function pixelMajor(array: GpuArray, first: number, count: number): GpuArray {
  const [, channels, height, width] = array.shape as [number, number, number, number];
  const plane = height * width;
  return pack(array, {
    outer: { count, step: channels * plane },
    rows: { count: plane, step: 1 },
    columns: { count: channels, step: plane },
    origin: first * channels * plane,
  });
}

/** Adds parts, [splits, O, taps · input quads, 4], to the gradient of a weight. */
function total(
  parts: GpuArray,
  { array: gradWeight, accumulate }: Accumulator,
  { inChannels, outChannels, tapRows, tapColumns }: Conv2dSizes,
): void {
  const [splits, , columns] = parts.shape as [number, number, number, number];
  const inQuads = Math.ceil(inChannels / 4);
  const taps = tapRows * tapColumns;
  dispatch(
    totalWeightKernel,
    { parts, gradWeight },
    { inChannels, inQuads, outChannels, taps, splits, accumulate: accumulate ? 1 : 0 },
    outChannels * columns,
  );
}

/** Parts of the gradient, [splits, O, taps · input quads, 4], from pixel-major arrays. */
function weightParts(gradOutput: GpuArray, x: GpuArray, sizes: Conv2dSizes): GpuArray {
  const { images, inChannels, outChannels, outHeight, tapRows, tapColumns } = sizes;
  const inQuads = Math.ceil(inChannels / 4);
  const columns = tapRows * tapColumns * inQuads;
  const tiles = Math.ceil(outChannels / CHANNELS) * Math.ceil(columns / COLUMNS);
  const rows = images * outHeight;
  const most = Math.max(1, Math.floor(x.gpu.maxBindingBytes / (outChannels * columns * 16)));
  const wanted = Math.min(Math.ceil(ENOUGH_INVOCATIONS / tiles), rows, most);
  const rowsPerSplit = Math.ceil(rows / wanted);
  const splits = Math.ceil(rows / rowsPerSplit);
  const parts = x.gpu.empty([splits, outChannels, columns, 4], "parts of a weight gradient");
  dispatch(
    productsKernel,
    { x, gradOutput, parts },
    { ...sizes, inQuads, columns, splits, rowsPerSplit },
    tiles * splits,
    { flops: conv2dFlops(sizes) },
  );
  return parts;
}

function biasGradient(
  gradOutput: GpuArray,
  { array: gradBias, accumulate }: Accumulator,
): void {
  const channels = gradBias.size;
  const quads = Math.ceil(channels / 4);
  const positions = gradOutput.size / (quads * 4);
  const run = Math.max(SHORTEST_RUN, Math.ceil(Math.sqrt(positions)));
  const runs = Math.ceil(positions / run);
  const parts = gradOutput.gpu.empty([runs, quads, 4], "parts of a bias gradient");
  const params = { channels, positions, run, runs, accumulate: accumulate ? 1 : 0 };
  dispatch(biasKernel, { gradOutput, parts }, params, runs * quads);
  dispatch(totalBiasKernel, { parts, gradBias }, params, channels);
  parts.release();
}
