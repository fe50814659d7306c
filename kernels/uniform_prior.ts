// Regulariser towards the uniform distribution; the formula is in the WGSL.

import { emptyTerms, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./uniform_prior.wgsl" with { type: "text" };

const shared = {
  file: "kernels/uniform_prior.wgsl",
  source,
  params: { images: "u32", classes: "u32", plane: "u32", runs: "u32", divisor: "f32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "uniform_prior.forward",
  entry: "forward",
  reads: ["logits"],
  writes: ["terms"],
});
const backward = defineKernel({
  ...shared,
  name: "uniform_prior.backward",
  entry: "backward",
  reads: ["logits", "gradOutput", "weight"],
  writes: ["gradLogits"],
});

/**
 * Mean over pixels of −Σ_k log softmax(logits)_k, divided by `divisor`.
 *
 * @param logits [N, K, H, W].
 * @throws {TypeError} If the logits have another number of axes.
 */
export function uniformPriorForward(logits: GpuArray, divisor: number): WeightedMean {
  const { images, classes, plane } = mapSizes("uniform_prior", logits);
  const { terms, runs } = emptyTerms(logits, images, plane);
  sliceByImage([logits], [terms], ([logits], [terms]) => {
    const images = terms.shape[0];
    dispatch(
      forward,
      { logits, terms },
      { images, classes, plane, runs, divisor },
      images * runs,
    );
  });
  return weightedMean(terms);
}

/** Gradient of {@link uniformPriorForward}; `weight` is what the forward returned. */
export function uniformPriorBackward(
  gradOutput: GpuArray,
  logits: GpuArray,
  weight: GpuArray,
): GpuArray {
  const { classes, plane } = mapSizes("uniform_prior", logits);
  const gradLogits = logits.gpu.empty(logits.shape, "gradient of uniform_prior");
  sliceByImage([logits], [gradLogits], ([logits], [gradLogits]) => {
    const images = logits.shape[0];
    dispatch(
      backward,
      { logits, gradOutput, weight, gradLogits },
      { images, classes, plane, runs: 0, divisor: 0 },
      images * plane,
    );
  });
  return gradLogits;
}
