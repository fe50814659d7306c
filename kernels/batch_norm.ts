// Batch normalisation of [N, C, ...] over everything but the channels; formulas are in the WGSL.

import { type Normalisation, normalisePlanesBackward, planeSizes } from "./plane_maps.ts";
import { planeMoments, planeSums } from "./plane_sums.ts";
import { defineKernel, dispatch, formatShape, type GpuArray } from "./runtime/mod.ts";
import source from "./batch_norm.wgsl" with { type: "text" };

const shared = {
  file: "kernels/batch_norm.wgsl",
  source,
  params: {
    images: "u32",
    channels: "u32",
    plane: "u32",
    batch: "u32",
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
const backward = defineKernel({
  ...shared,
  name: "batch_norm.backward",
  entry: "backward",
  reads: ["sums", "coefficients"],
  writes: ["slopes", "gradWeight", "gradBias"],
});

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

/** Gradients of a normalisation; null where not asked for. */
export interface NormGradients {
  /** Of the input's shape. */
  readonly gradInput: GpuArray | null;
  /** [C]. */
  readonly gradWeight: GpuArray;
  /** [C]. */
  readonly gradBias: GpuArray;
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
  { training, momentum, eps }: BatchNormOptions,
): GpuArray {
  const { images, channels, plane } = planeSizes("batch_norm", x);
  checkChannels("batch_norm", channels, { ...arrays });
  if (training && images * plane < 2) {
    throw new RangeError(
      `Cannot run batch_norm in training on ${
        formatShape(x.shape)
      }: one value per channel has no variance`,
    );
  }
  const coefficients = x.gpu.empty([channels, 4], "batch norm coefficients");
  const params = { images, channels, plane, batch: Number(training), momentum, eps };
  if (training) {
    const moments = planeMoments(x);
    dispatch(fromBatch, { ...arrays, moments, coefficients }, params, channels);
    moments.release();
  } else {
    dispatch(fromRunning, { ...arrays, coefficients }, params, channels);
  }
  return coefficients;
}

/**
 * Gradients of a batch normalisation.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The forward's input.
 * @param forward The coefficients, and whether a ReLU followed.
 * @param options `training` as for the coefficients; `needsInput`: whether the gradient to `x` is wanted.
 */
export function batchNormBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  forward: Normalisation,
  { training, needsInput }: { readonly training: boolean; readonly needsInput: boolean },
): NormGradients {
  const { images, channels, plane } = planeSizes("batch_norm.backward", x);
  const { gpu } = x;
  const { coefficients } = forward;
  const slopes = gpu.empty([channels, 2], "batch norm slopes");
  const gradWeight = gpu.empty([channels], "gradient of a batch norm weight");
  const gradBias = gpu.empty([channels], "gradient of a batch norm bias");
  const sums = planeSums(gradOutput, x, forward);
  dispatch(
    backward,
    { sums, coefficients, slopes, gradWeight, gradBias },
    { images, channels, plane, batch: Number(training), momentum: 0, eps: 0 },
    channels,
  );
  const gradInput = needsInput ? normalisePlanesBackward(gradOutput, x, forward, slopes) : null;
  sums.release();
  slopes.release();
  return { gradInput, gradWeight, gradBias };
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
