// Cross entropy with soft labels, plain and symmetric; the formula is in the WGSL.

import { checkPixels, checkShape, emptyTerms, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./soft_cross_entropy.wgsl" with { type: "text" };

const shared = {
  file: "kernels/soft_cross_entropy.wgsl",
  source,
  params: {
    images: "u32",
    classes: "u32",
    plane: "u32",
    runs: "u32",
    ignoreLabel: "u32",
    alpha: "f32",
    beta: "f32",
  },
} as const;
const forward = defineKernel({
  ...shared,
  name: "soft_cross_entropy.forward",
  entry: "forward",
  reads: ["logits", "softLabels", "labels"],
  writes: ["terms"],
});
const forwardWeighted = defineKernel({
  ...shared,
  name: "soft_cross_entropy.forward_weighted",
  entry: "forward_weighted",
  reads: ["logits", "softLabels", "labels", "pixelWeights"],
  writes: ["terms"],
});
const backward = defineKernel({
  ...shared,
  name: "soft_cross_entropy.backward",
  entry: "backward",
  reads: ["logits", "softLabels", "labels", "gradOutput", "weight"],
  writes: ["gradLogits"],
});

const backwardWeighted = defineKernel({
  ...shared,
  name: "soft_cross_entropy.backward_weighted",
  entry: "backward_weighted",
  reads: ["logits", "softLabels", "labels", "pixelWeights", "gradOutput", "weight"],
  writes: ["gradLogits"],
});

/** What a cross entropy with soft labels is taken of. */
export interface SoftCrossEntropyInputs {
  /** [N, K, H, W]. */
  readonly logits: GpuArray;
  /** Probabilities, [N, K, H, W]. */
  readonly softLabels: GpuArray;
  /** [N, H, W]; pixels with `ignoreLabel` here do not count. */
  readonly labels: GpuArray<"u32">;
  /** What the loss of each pixel is multiplied by, [N, H, W]; all count alike unless given. */
  readonly pixelWeights?: GpuArray | null;
}

/** Constants of {@link softCrossEntropyForward}. */
export interface SoftCrossEntropyOptions {
  /** Pixels with this hard label do not count. */
  readonly ignoreLabel: number;
  /** Weight of the cross entropy of the prediction with the label. */
  readonly alpha: number;
  /** Weight of the reverse term; 0 for the plain cross entropy. */
  readonly beta: number;
}

/**
 * Mean cross entropy over the pixels that count; `weight` is their number, whatever they weigh.
 *
 * @throws {TypeError} If the shapes do not fit.
 */
export function softCrossEntropyForward(
  { logits, softLabels, labels, pixelWeights }: SoftCrossEntropyInputs,
  options: SoftCrossEntropyOptions,
): WeightedMean {
  const { images, classes, plane } = mapSizes("soft_cross_entropy", logits);
  checkShape("soft_cross_entropy", softLabels, logits.shape);
  checkPixels("soft_cross_entropy", logits, labels);
  if (pixelWeights) checkPixels("soft_cross_entropy", logits, pixelWeights);
  const { terms, runs } = emptyTerms(logits, images, plane);
  const weights = pixelWeights ? [pixelWeights] : [];
  sliceByImage(
    [logits, softLabels, labels, ...weights],
    [terms],
    ([logits, softLabels, labels, own], [terms]) => {
      const images = terms.shape[0];
      const arrays = { logits, softLabels, labels, terms };
      const params = { images, classes, plane, runs, ...options };
      if (own) dispatch(forwardWeighted, { ...arrays, pixelWeights: own }, params, images * runs);
      else dispatch(forward, arrays, params, images * runs);
    },
  );
  return weightedMean(terms);
}

/**
 * Gradient of {@link softCrossEntropyForward} to the logits; `weight` is what the forward returned.
 */
export function softCrossEntropyBackward(
  gradOutput: GpuArray,
  { logits, softLabels, labels, pixelWeights }: SoftCrossEntropyInputs,
  weight: GpuArray,
  options: SoftCrossEntropyOptions,
): GpuArray {
  const { classes, plane } = mapSizes("soft_cross_entropy", logits);
  const gradLogits = logits.gpu.empty(logits.shape, "gradient of soft_cross_entropy");
  const weights = pixelWeights ? [pixelWeights] : [];
  sliceByImage(
    [logits, softLabels, labels, ...weights],
    [gradLogits],
    ([logits, softLabels, labels, own], [gradLogits]) => {
      const images = logits.shape[0];
      const arrays = { logits, softLabels, labels, gradOutput, weight, gradLogits };
      const params = { images, classes, plane, runs: 0, ...options };
      if (own) dispatch(backwardWeighted, { ...arrays, pixelWeights: own }, params, images * plane);
      else dispatch(backward, arrays, params, images * plane);
    },
  );
  return gradLogits;
}
