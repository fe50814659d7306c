// Batch normalisation of [N, C, ...] over everything but the channels; formulas are in the WGSL.

import { type Accumulator, accumulatorFor } from "./accumulator.ts";
import { leakyReluBackward, maskInPlace } from "./elementwise.ts";
import {
  checkResidual,
  type Normalisation,
  normalisePlanes,
  normalisePlanesBackward,
  type PlaneSizes,
  planeSizes,
} from "./plane_maps.ts";
import { gatherRows, peerCount, sumOverPeers } from "./peers.ts";
import { planeMoments, planeSums } from "./plane_sums.ts";
import { defineKernel, dispatch, formatShape, type Gpu, type GpuArray } from "./runtime/mod.ts";
import {
  accumulateBits,
  batchBackwardBySets,
  batchForwardBySets,
  fitsWorkgroups,
  type Sets,
} from "./sets.ts";
import source from "./batch_norm.wgsl" with { type: "text" };

const shared = {
  file: "kernels/batch_norm.wgsl",
  source,
  params: {
    images: "u32",
    channels: "u32",
    plane: "u32",
    batch: "u32",
    accumulate: "u32",
    momentum: "f32",
    eps: "f32",
  },
} as const;
const fromBatch = defineKernel({
  ...shared,
  name: "batch_norm.from_batch",
  entry: "from_batch",
  reads: ["moments", "weight", "bias"],
  writes: ["runningMean", "runningVariance", "coefficients"],
});
const fromRunning = defineKernel({
  ...shared,
  name: "batch_norm.from_running",
  entry: "from_running",
  reads: ["weight", "bias", "runningMean", "runningVariance"],
  writes: ["coefficients"],
});
const aboutRunning = defineKernel({
  ...shared,
  name: "batch_norm.about_running",
  entry: "about_running",
  reads: ["moments", "runningMean"],
  writes: ["totals"],
});
const fromTotals = defineKernel({
  ...shared,
  name: "batch_norm.from_totals",
  entry: "from_totals",
  reads: ["totals", "weight", "bias"],
  writes: ["runningMean", "runningVariance", "coefficients"],
});
const totalSums = defineKernel({
  ...shared,
  name: "batch_norm.total_sums",
  entry: "total_sums",
  reads: ["sums"],
  writes: ["totals"],
});
const backward = defineKernel({
  ...shared,
  name: "batch_norm.backward",
  entry: "backward",
  reads: ["sums", "coefficients"],
  writes: ["slopes", "gradWeight", "gradBias"],
});

/**
 * Images of all peers up to which they tell each other of every image, so that they compute the bits of one
 * device that sees all of them. Of more they add up what they know, which is as many bytes for any number.
 */
export const MOST_GATHERED = 32;

/** Parameters and running statistics, each [C]. */
export interface BatchNormArrays {
  /** Factor after the normalisation. */
  readonly weight: GpuArray;
  /** Added after the factor. */
  readonly bias: GpuArray;
  /** Moved in place by batch statistics. */
  readonly runningMean: GpuArray;
  /** Moved in place by batch statistics; unbiased. */
  readonly runningVariance: GpuArray;
}

/** How batch norm runs. */
export interface BatchNormOptions {
  /** Whether the batch gives the statistics, and the running ones follow; else those are used. */
  readonly training: boolean;
  /** Weight of the batch in the running statistics. */
  readonly momentum: number;
  /** Added to the variance. */
  readonly eps: number;
}

/** Output and what the backward needs besides the input. */
export interface NormForward extends Normalisation {
  /** Of the input's shape. */
  readonly output: GpuArray;
}

/** Gradients of a normalisation; null where not asked for. */
export interface NormGradients {
  /** Of the input's shape. */
  readonly gradInput: GpuArray | null;
  /** [C]. */
  readonly gradWeight: GpuArray;
  /** [C]. */
  readonly gradBias: GpuArray;
}

/** Which gradients of a normalisation to compute, and where to. */
export interface NormNeeds {
  /** Whether the gradient to the input is wanted. */
  readonly needsInput: boolean;
  /** Where the gradient to the weight is written; a new array unless said. */
  readonly weight?: true | Accumulator | undefined;
  /** Where the gradient to the bias is written; a new array unless said. */
  readonly bias?: true | Accumulator | undefined;
}

/**
 * Normalises every channel, multiplies by its weight and adds its bias; moves the running statistics
 * in training.
 *
 * @param x [N, C, ...].
 * @param options `relu`: whether a ReLU follows in the same pass.
 * @param residual Added before the ReLU; of the shape of `x`.
 * @throws {TypeError} If the parameters are not [C], or the residual is not like `x`.
 * @throws {RangeError} If the batch has one value per channel, which has no variance.
 */
export function batchNormForward(
  x: GpuArray,
  arrays: BatchNormArrays,
  options: BatchNormOptions & { readonly relu: boolean },
  residual: GpuArray | null = null,
): NormForward {
  const sizes = checkBatchNorm(x, arrays, options);
  checkResidual(x, residual);
  const { relu } = options;
  const sets = channelSets(sizes);
  if (isShared(x, options) || !fitsWorkgroups(x, sets)) {
    const coefficients = batchNormCoefficients(x, arrays, options);
    const output = normalisePlanes(x, { coefficients, relu }, residual);
    return { output, coefficients, relu };
  }
  const coefficients = x.gpu.empty([sizes.channels, 4], "batch norm coefficients");
  const y = x.gpu.empty(x.shape, "batch norm");
  batchForwardBySets({ x, residual, ...arrays, coefficients, y }, sets, options);
  return { output: y, coefficients, relu };
}

/**
 * The coefficients with which `normalisePlanes` normalises every channel, multiplies by its weight and
 * adds its bias, [C, 4]; moves the running statistics in training.
 *
 * @param x [N, C, ...].
 * @throws {TypeError} If the parameters are not [C].
 * @throws {RangeError} If the batch has one value per channel, which has no variance.
 */
export function batchNormCoefficients(
  x: GpuArray,
  arrays: BatchNormArrays,
  options: BatchNormOptions,
): GpuArray {
  const { images, channels, plane } = checkBatchNorm(x, arrays, options);
  const { training, momentum, eps } = options;
  const coefficients = x.gpu.empty([channels, 4], "batch norm coefficients");
  const batch = Number(training);
  const params = { images, channels, plane, batch, accumulate: 0, momentum, eps };
  if (training) {
    using own = planeMoments(x);
    const all = { ...params, images: images * peerCount(x) };
    if (all.images > MOST_GATHERED && x.gpu.peers) {
      using totals = x.gpu.empty([channels, 2], "batch norm totals");
      const { runningMean } = arrays;
      dispatch(aboutRunning, { moments: own, runningMean, totals }, params, channels);
      sumOverPeers([totals]);
      dispatch(fromTotals, { ...arrays, totals, coefficients }, all, channels);
      return coefficients;
    }
    using moments = gatherRows(own);
    dispatch(fromBatch, { ...arrays, moments, coefficients }, all, channels);
  } else {
    dispatch(fromRunning, { ...arrays, coefficients }, params, channels);
  }
  return coefficients;
}

/**
 * Gradients of a batch normalisation without a residual.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The forward's input.
 * @param forward The coefficients, and whether a ReLU followed.
 * @param options `training` as for the coefficients, and what is wanted.
 */
export function batchNormBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  forward: Normalisation,
  { training, needsInput, weight, bias }: NormNeeds & { readonly training: boolean },
): NormGradients {
  const sizes = planeSizes("batch_norm.backward", x);
  const { images, channels, plane } = sizes;
  const { gpu } = x;
  const { coefficients, relu } = forward;
  const { gradWeight, gradBias } = parameterGradients(gpu, channels, weight, bias);
  const made = { gradWeight: gradWeight.array, gradBias: gradBias.array };
  const sets = channelSets(sizes);
  const shares = isShared(x, { training });
  if (needsInput && !shares && fitsWorkgroups(x, sets)) {
    const gradInput = gpu.empty(x.shape, "batch_norm.backward");
    const arrays = { x, coefficients, gradWeight, gradBias, gradInput };
    batchBackwardBySets({ gradOutput }, arrays, sets, { training, relu });
    return { gradInput, ...made };
  }
  using slopes = gpu.empty([channels, 2], "batch norm slopes");
  using sums = planeSums(gradOutput, x, forward);
  const accumulate = accumulateBits(gradWeight, gradBias);
  const params = { channels, plane, batch: Number(training), momentum: 0, eps: 0 };
  dispatch(
    backward,
    { sums, coefficients, slopes, ...made },
    { ...params, images, accumulate },
    channels,
  );
  if (!needsInput) return { gradInput: null, ...made };
  if (shares) slopesOfAll(sums, coefficients, slopes, { ...params, images });
  const gradInput = normalisePlanesBackward(gradOutput, x, forward, slopes);
  return { gradInput, ...made };
}

/**
 * Gradients of a batch normalisation with a residual and a ReLU.
 *
 * @param gradOutput Of the shape of `x`; becomes the gradient to the residual where `overwrite`.
 * @param x The forward's input.
 * @param forward The coefficients, and the forward's output, whose signs say what the ReLU let through.
 * @param options `training` as in the forward, and what is wanted.
 * @returns Also the gradient to the residual.
 */
export function batchNormResidualBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, output }: { readonly coefficients: GpuArray; readonly output: GpuArray },
  { overwrite, ...options }: NormNeeds & {
    readonly training: boolean;
    readonly overwrite: boolean;
  },
): NormGradients & { readonly gradResidual: GpuArray } {
  const sizes = planeSizes("batch_norm.backward", x);
  const sets = channelSets(sizes);
  const { training, needsInput, weight, bias } = options;
  const gradResidual = overwrite ? gradOutput.retain() : leakyReluBackward(gradOutput, output, 0);
  if (overwrite && needsInput && !isShared(x, options) && fitsWorkgroups(x, sets)) {
    const { gradWeight, gradBias } = parameterGradients(x.gpu, sizes.channels, weight, bias);
    const gradInput = x.gpu.empty(x.shape, "batch_norm.backward");
    const arrays = { x, coefficients, gradWeight, gradBias, gradInput };
    const masked = { masked: gradResidual, signs: output };
    batchBackwardBySets(masked, arrays, sets, { training, relu: true });
    return { gradInput, gradWeight: gradWeight.array, gradBias: gradBias.array, gradResidual };
  }
  if (overwrite) maskInPlace(gradResidual, output);
  const gradients = batchNormBackward(gradResidual, x, { coefficients, relu: false }, options);
  return { ...gradients, gradResidual };
}

/** Whether the statistics are of images that other processes see, too. */
function isShared({ gpu }: GpuArray, { training }: Pick<BatchNormOptions, "training">): boolean {
  return training && gpu.peers !== undefined;
}

/** The slopes that follow from the images of all peers; gradients to weight and bias are added up later. */
function slopesOfAll(
  own: GpuArray,
  coefficients: GpuArray,
  slopes: GpuArray,
  params: Readonly<Record<"images" | "channels" | "plane" | "batch" | "momentum" | "eps", number>>,
): void {
  const { images, channels, plane } = params;
  const all = images * peerCount(own);
  using gradWeight = own.gpu.empty([channels], "gradient of all peers");
  using gradBias = own.gpu.empty([channels], "gradient of all peers");
  const to = { coefficients, slopes, gradWeight, gradBias };
  if (all > MOST_GATHERED) {
    using totals = own.gpu.empty([1, channels, 2], "sums of all peers");
    dispatch(totalSums, { sums: own, totals }, { ...params, accumulate: 0 }, channels);
    sumOverPeers([totals]);
    const asOne = { ...params, images: 1, plane: plane * all, accumulate: 0 };
    dispatch(backward, { ...to, sums: totals }, asOne, channels);
  } else {
    using sums = gatherRows(own);
    dispatch(backward, { ...to, sums }, { ...params, images: all, accumulate: 0 }, channels);
  }
}

/** A channel of all images is a set. */
function channelSets({ images, channels, plane }: PlaneSizes): Sets {
  return { sets: channels, setStep: 1, parts: images, partStep: channels, plane, channels };
}

/** Where the gradients to weight and bias are written. */
export function parameterGradients(
  gpu: Gpu,
  channels: number,
  weight: true | Accumulator = true,
  bias: true | Accumulator = true,
): { readonly gradWeight: Accumulator; readonly gradBias: Accumulator } {
  const to = (wanted: true | Accumulator, label: string) =>
    accumulatorFor(wanted, () => gpu.empty([channels], label)) as Accumulator;
  return {
    gradWeight: to(weight, "gradient of a norm's weight"),
    gradBias: to(bias, "gradient of a norm's bias"),
  };
}

function checkBatchNorm(
  x: GpuArray,
  arrays: BatchNormArrays,
  { training }: BatchNormOptions,
): PlaneSizes {
  const sizes = planeSizes("batch_norm", x);
  checkChannels("batch_norm", sizes.channels, { ...arrays });
  if (training && sizes.images * sizes.plane < 2) {
    throw new RangeError(
      `Cannot run batch_norm in training on ${
        formatShape(x.shape)
      }: one value per channel has no variance`,
    );
  }
  return sizes;
}

/** @throws {TypeError} If an array is not [channels]. */
export function checkChannels(
  name: string,
  channels: number,
  arrays: Readonly<Record<string, GpuArray>>,
): void {
  for (const [label, { shape }] of Object.entries(arrays)) {
    if (shape.length !== 1 || shape[0] !== channels) {
      throw new TypeError(
        `Cannot run ${name} as ${label} must be [${channels}], one number per channel: it is ${
          formatShape(shape)
        }`,
      );
    }
  }
}
