// Cross entropy with hard labels, plain and symmetric; the formula is in the WGSL.

import { checkPixels, emptyTerms, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./cross_entropy.wgsl" with { type: "text" };

const shared = {
  file: "kernels/cross_entropy.wgsl",
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
  name: "cross_entropy.forward",
  entry: "forward",
  reads: ["logits", "labels"],
  writes: ["terms"],
});
const forwardWeighted = defineKernel({
  ...shared,
  name: "cross_entropy.forward_weighted",
  entry: "forward_weighted",
  reads: ["logits", "labels", "pixelWeights"],
  writes: ["terms"],
});
const backward = defineKernel({
  ...shared,
  name: "cross_entropy.backward",
  entry: "backward",
  reads: ["logits", "labels", "gradOutput", "weight"],
  writes: ["gradLogits"],
});
const backwardWeighted = defineKernel({
  ...shared,
  name: "cross_entropy.backward_weighted",
  entry: "backward_weighted",
  reads: ["logits", "labels", "pixelWeights", "gradOutput", "weight"],
  writes: ["gradLogits"],
});

/** Constants of the cross entropy. */
export interface CrossEntropyOptions {
  /** Pixels with this label do not count. */
  readonly ignoreLabel: number;
  /** Weight of −log p of the label. */
  readonly alpha: number;
  /** Weight of the reverse term; 0 for the plain cross entropy. */
  readonly beta: number;
}

/** What a cross entropy is taken of. */
export interface CrossEntropyInputs {
  /** [N, K, H, W]. */
  readonly logits: GpuArray;
  /** [N, H, W]; a pixel counts where its label is below K and not `ignoreLabel`. */
  readonly labels: GpuArray<"u32">;
  /** What the loss of each pixel is multiplied by, [N, H, W]; all count alike unless given. */
  readonly pixelWeights?: GpuArray | null;
}

/**
 * Mean cross entropy over the pixels that count; `weight` is their number, whatever they weigh.
 *
 * @throws {TypeError} If the shapes do not fit.
 */
export function crossEntropyForward(
  { logits, labels, pixelWeights }: CrossEntropyInputs,
  options: CrossEntropyOptions,
): WeightedMean {
  const { images, classes, plane } = mapSizes("cross_entropy", logits);
  checkPixels("cross_entropy", logits, labels);
  if (pixelWeights) checkPixels("cross_entropy", logits, pixelWeights);
  const { terms, runs } = emptyTerms(logits, images, plane);
  const weights = pixelWeights ? [pixelWeights] : [];
  sliceByImage([logits, labels, ...weights], [terms], ([logits, labels, own], [terms]) => {
    const images = terms.shape[0];
    const arrays = { logits, labels, terms };
    const params = { images, classes, plane, runs, ...options };
    if (own) dispatch(forwardWeighted, { ...arrays, pixelWeights: own }, params, images * runs);
    else dispatch(forward, arrays, params, images * runs);
  });
  return weightedMean(terms);
}

/** Gradient of {@link crossEntropyForward} to the logits; `weight` is what the forward returned. */
export function crossEntropyBackward(
  gradOutput: GpuArray,
  { logits, labels, pixelWeights }: CrossEntropyInputs,
  weight: GpuArray,
  options: CrossEntropyOptions,
): GpuArray {
  const { classes, plane } = mapSizes("cross_entropy", logits);
  const gradLogits = logits.gpu.empty(logits.shape, "gradient of cross_entropy");
  const weights = pixelWeights ? [pixelWeights] : [];
  sliceByImage(
    [logits, labels, ...weights],
    [gradLogits],
    ([logits, labels, own], [gradLogits]) => {
      const images = logits.shape[0];
      const arrays = { logits, labels, gradOutput, weight, gradLogits };
      const params = { images, classes, plane, runs: 0, ...options };
      if (own) dispatch(backwardWeighted, { ...arrays, pixelWeights: own }, params, images * plane);
      else dispatch(backward, arrays, params, images * plane);
    },
  );
  return gradLogits;
}
