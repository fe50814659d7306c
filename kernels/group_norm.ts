// Group normalisation of [N, C, ...] over groups of channels; formulas are in the WGSL.

import {
  checkChannels,
  type NormForward,
  type NormGradients,
  type NormNeeds,
  parameterGradients,
} from "./batch_norm.ts";
import {
  type Normalisation,
  normalisePlanes,
  normalisePlanesBackward,
  type PlaneSizes,
  planeSizes,
} from "./plane_maps.ts";
import { planeMoments, planeSums } from "./plane_sums.ts";
import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import {
  accumulateBits,
  fitsWorkgroups,
  groupBackwardBySets,
  groupForwardBySets,
  type Sets,
} from "./sets.ts";
import source from "./group_norm.wgsl" with { type: "text" };

const shared = {
  file: "kernels/group_norm.wgsl",
  source,
  params: {
    images: "u32",
    channels: "u32",
    plane: "u32",
    groups: "u32",
    accumulate: "u32",
    eps: "f32",
  },
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
  const sizes = planeSizes("group_norm", x);
  const { images, channels, plane } = sizes;
  checkChannels("group_norm", channels, { weight, bias });
  if (!(groups >= 1 && channels % groups === 0)) {
    throw new RangeError(
      `Cannot run group_norm as groups must divide channels: there are ${groups} groups and ${channels} channels`,
    );
  }
  const coefficients = x.gpu.empty([images, channels, 4], "group norm coefficients");
  const sets = groupSets(sizes, groups);
  if (fitsWorkgroups(x, sets)) {
    const y = x.gpu.empty(x.shape, "group norm");
    groupForwardBySets({ x, weight, bias, coefficients, y }, sets, { eps, relu });
    return { output: y, coefficients, relu };
  }
  const moments = planeMoments(x);
  dispatch(
    forward,
    { moments, weight, bias, coefficients },
    { images, channels, plane, groups, accumulate: 0, eps },
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
 * @param options `groups` as in the forward, and what is wanted.
 */
export function groupNormBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  weight: GpuArray,
  normalised: Normalisation,
  { groups, needsInput, ...into }: NormNeeds & { readonly groups: number },
): NormGradients {
  const sizes = planeSizes("group_norm.backward", x);
  const { images, channels, plane } = sizes;
  const { gpu } = x;
  const { coefficients, relu } = normalised;
  const { gradWeight, gradBias } = parameterGradients(gpu, channels, into.weight, into.bias);
  const accumulate = accumulateBits(gradWeight, gradBias);
  const params = { images, channels, plane, groups, accumulate, eps: 0 };
  const sets = groupSets(sizes, groups);
  let sums: GpuArray;
  let gradInput: GpuArray | null = null;
  if (needsInput && fitsWorkgroups(x, sets)) {
    sums = gpu.empty([images, channels, 2], "planes.sums");
    gradInput = gpu.empty(x.shape, "group_norm.backward");
    const arrays = { gradOutput, x, weight, coefficients, totals: sums, y: gradInput };
    groupBackwardBySets(arrays, sets, { relu });
  } else {
    sums = planeSums(gradOutput, x, normalised);
    if (needsInput) {
      const slopes = gpu.empty([images, channels, 2], "group norm slopes");
      dispatch(backward, { sums, weight, coefficients, slopes }, params, images * groups);
      gradInput = normalisePlanesBackward(gradOutput, x, normalised, slopes);
      slopes.release();
    }
  }
  const made = { gradWeight: gradWeight.array, gradBias: gradBias.array };
  dispatch(affine, { sums, coefficients, ...made }, params, channels);
  sums.release();
  return { gradInput, ...made };
}

/** A group of channels of one image is a set. */
function groupSets({ images, channels, plane }: PlaneSizes, groups: number): Sets {
  const parts = channels / groups;
  return { sets: images * groups, setStep: parts, parts, partStep: 1, plane, channels };
}
