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
const backward = defineKernel({
  ...shared,
  name: "cross_entropy.backward",
  entry: "backward",
  reads: ["logits", "labels", "gradOutput", "weight"],
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

/**
 * Mean cross entropy over the pixels that count; `weight` is their number.
 *
 * @param logits [N, K, H, W].
 * @param labels [N, H, W]; a pixel counts where its label is below K and not `ignoreLabel`.
 * @throws {TypeError} If the shapes do not fit.
 */
export function crossEntropyForward(
  logits: GpuArray,
  labels: GpuArray<"u32">,
  options: CrossEntropyOptions,
): WeightedMean {
  const { images, classes, plane } = mapSizes("cross_entropy", logits);
  checkPixels("cross_entropy", logits, labels);
  const { terms, runs } = emptyTerms(logits, images, plane);
  sliceByImage([logits, labels], [terms], ([logits, labels], [terms]) => {
    const images = terms.shape[0];
    dispatch(
      forward,
      { logits, labels, terms },
      { images, classes, plane, runs, ...options },
      images * runs,
    );
  });
  return weightedMean(terms);
}

/** Gradient of {@link crossEntropyForward} to the logits; `weight` is what the forward returned. */
export function crossEntropyBackward(
  gradOutput: GpuArray,
  logits: GpuArray,
  labels: GpuArray<"u32">,
  weight: GpuArray,
  options: CrossEntropyOptions,
): GpuArray {
  const { classes, plane } = mapSizes("cross_entropy", logits);
  const gradLogits = logits.gpu.empty(logits.shape, "gradient of cross_entropy");
  sliceByImage([logits, labels], [gradLogits], ([logits, labels], [gradLogits]) => {
    const images = logits.shape[0];
    dispatch(
      backward,
      { logits, labels, gradOutput, weight, gradLogits },
      { images, classes, plane, runs: 0, ...options },
      images * plane,
    );
  });
  return gradLogits;
}
