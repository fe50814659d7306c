// Group normalisation of [N, C, ...] over groups of channels; formulas are in the WGSL.

import { checkChannels, type NormGradients } from "./batch_norm.ts";
import {
  type Normalisation,
  normalisePlanes,
  normalisePlanesBackward,
  planeSizes,
} from "./plane_maps.ts";
import { planeMoments, planeSums } from "./plane_sums.ts";
import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import source from "./group_norm.wgsl" with { type: "text" };

const shared = {
  file: "kernels/group_norm.wgsl",
  source,
  params: { images: "u32", channels: "u32", plane: "u32", groups: "u32", eps: "f32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "group_norm.forward",
  entry: "forward",
  reads: ["moments", "weight", "bias"],
  writes: ["coefficients"],
});
const backward = defineKernel({
  ...shared,
  name: "group_norm.backward",
  entry: "backward",
  reads: ["sums", "weight", "coefficients"],
  writes: ["slopes"],
});
const affine = defineKernel({
  ...shared,
  name: "group_norm.affine",
  entry: "affine",
  reads: ["sums", "coefficients"],
  writes: ["gradWeight", "gradBias"],
});

/** How group norm runs. */
export interface GroupNormOptions {
  /** Number of groups; divides the channels. */
  readonly groups: number;
  /** Added to the variance. */
  readonly eps: number;
  /** Whether a ReLU follows in the same pass. */
  readonly relu: boolean;
}

/** Output and what the backward needs besides the input. */
export interface NormForward extends Normalisation {
  /** Of the input's shape. */
  readonly output: GpuArray;
}

/**
 * Normalises every group of every image, then multiplies by weight and adds bias.
 *
 * @param x [N, C, ...].
 * @param weight [C].
 * @param bias [C].
 * @throws {TypeError} If the parameters are not [C].
 * @throws {RangeError} If `groups` does not divide C.
 */
export function groupNormForward(
  x: GpuArray,
  weight: GpuArray,
  bias: GpuArray,
  { groups, eps, relu }: GroupNormOptions,
): NormForward {
  const { images, channels, plane } = planeSizes("group_norm", x);
  checkChannels("group_norm", channels, { weight, bias });
  if (!(groups >= 1 && channels % groups === 0)) {
    throw new RangeError(
      `Cannot run group_norm as groups must divide channels: there are ${groups} groups and ${channels} channels`,
    );
  }
  const coefficients = x.gpu.empty([images, channels, 4], "group norm coefficients");
  const moments = planeMoments(x);
  dispatch(
    forward,
    { moments, weight, bias, coefficients },
    { images, channels, plane, groups, eps },
    images * groups,
  );
  moments.release();
  const output = normalisePlanes(x, { coefficients, relu });
  return { output, coefficients, relu };
}

/**
 * Gradients of {@link groupNormForward}.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The forward's input.
 * @param weight The forward's weight.
 * @param normalised What the forward returned; its output is not read.
 * @param options `groups` as in the forward; `needsInput`: whether the gradient to `x` is wanted.
 */
export function groupNormBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  weight: GpuArray,
  normalised: Normalisation,
  { groups, needsInput }: { readonly groups: number; readonly needsInput: boolean },
): NormGradients {
  const { images, channels, plane } = planeSizes("group_norm.backward", x);
  const { gpu } = x;
  const { coefficients } = normalised;
  const params = { images, channels, plane, groups, eps: 0 };
  const sums = planeSums(gradOutput, x, normalised);
  let gradInput: GpuArray | null = null;
  if (needsInput) {
    const slopes = gpu.empty([images, channels, 2], "group norm slopes");
    dispatch(backward, { sums, weight, coefficients, slopes }, params, images * groups);
    gradInput = normalisePlanesBackward(gradOutput, x, normalised, slopes);
    slopes.release();
  }
  const gradWeight = gpu.empty([channels], "gradient of a group norm weight");
  const gradBias = gpu.empty([channels], "gradient of a group norm bias");
  dispatch(affine, { sums, coefficients, gradWeight, gradBias }, params, channels);
  sums.release();
  return { gradInput, gradWeight, gradBias };
}
