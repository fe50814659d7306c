// Kullback-Leibler divergence of a softmax from constant targets; the formula is in the WGSL.

import { checkPixels, checkShape, emptyTerms, mapSizes } from "./class_map.ts";
import {
  type AnyArray,
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByImage,
} from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./kl_divergence.wgsl" with { type: "text" };

const kernels = { divergence: kernelsOf(0), softmaxAsLog: kernelsOf(1) } as const;

function kernelsOf(softmaxAsLog: number) {
  const shared = {
    file: "kernels/kl_divergence.wgsl",
    source,
    params: {
      images: "u32",
      classes: "u32",
      plane: "u32",
      runs: "u32",
      scale: "f32",
      divisor: "f32",
    },
    constants: { SOFTMAX_AS_LOG: softmaxAsLog },
  } as const;
  return {
    forward: defineKernel({
      ...shared,
      name: "kl_divergence.forward",
      entry: "forward",
      reads: ["logits", "targets", "mask"],
      writes: ["terms"],
    }),
    backward: defineKernel({
      ...shared,
      name: "kl_divergence.backward",
      entry: "backward",
      reads: ["logits", "targets", "mask", "gradOutput", "weight"],
      writes: ["gradLogits"],
    }),
  };
}

/** Constants of the divergence. */
export interface KlDivergenceOptions {
  /** Factor of the logits inside the softmax. */
  readonly scale: number;
  /** What a pixel that counts adds to the divisor of the mean, usually 1. */
  readonly divisor: number;
  /**
   * `softmaxAsLog` puts the softmax in the place of its logarithm, as ProDA's released code does.
   */
  readonly formula: "divergence" | "softmaxAsLog";
}

/**
 * Mean KL(targets ‖ softmax(scale logits)) over the pixels whose mask is not zero.
 *
 * @param logits [N, K, H, W].
 * @param targets Probabilities [N, K, H, W].
 * @param mask [N, H, W], floats or integers.
 * @throws {TypeError} If the shapes do not fit.
 */
export function klDivergenceForward(
  logits: GpuArray,
  targets: GpuArray,
  mask: AnyArray,
  { scale, divisor, formula }: KlDivergenceOptions,
): WeightedMean {
  const { images, classes, plane } = mapSizes("kl_divergence", logits);
  checkShape("kl_divergence", targets, logits.shape);
  checkPixels("kl_divergence", logits, mask);
  const { terms, runs } = emptyTerms(logits, images, plane);
  sliceByImage([logits, targets, mask], [terms], ([logits, targets, mask], [terms]) => {
    const images = terms.shape[0];
    dispatch(
      kernels[formula].forward,
      { logits, targets, mask, terms },
      { images, classes, plane, runs, scale, divisor },
      images * runs,
    );
  });
  return weightedMean(terms);
}

/** Gradient of {@link klDivergenceForward} to the logits; `weight` is what the forward returned. */
export function klDivergenceBackward(
  gradOutput: GpuArray,
  logits: GpuArray,
  targets: GpuArray,
  mask: AnyArray,
  weight: GpuArray,
  { scale, divisor, formula }: KlDivergenceOptions,
): GpuArray {
  const { classes, plane } = mapSizes("kl_divergence", logits);
  const gradLogits = logits.gpu.empty(logits.shape, "gradient of kl_divergence");
  sliceByImage([logits, targets, mask], [gradLogits], ([logits, targets, mask], [gradLogits]) => {
    const images = logits.shape[0];
    dispatch(
      kernels[formula].backward,
      { logits, targets, mask, gradOutput, weight, gradLogits },
      { images, classes, plane, runs: 0, scale, divisor },
      images * plane,
    );
  });
  return gradLogits;
}
