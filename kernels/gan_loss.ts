// Losses of a discriminator's scores; the formulas are in the WGSL.

import { emptyTerms } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./gan_loss.wgsl" with { type: "text" };

/** Which formula compares a score with its label. */
export type GanLoss = "leastSquares" | "bceWithLogits";

const kernels = {
  leastSquares: kernelsOf("least_squares_loss", 0),
  bceWithLogits: kernelsOf("bce_with_logits_loss", 1),
} as const;

function kernelsOf(name: string, binary: number) {
  const shared = {
    file: "kernels/gan_loss.wgsl",
    source,
    params: { images: "u32", plane: "u32", runs: "u32", label: "f32" },
    constants: { BINARY: binary },
  } as const;
  return {
    forward: defineKernel({
      ...shared,
      name: `${name}.forward`,
      entry: "forward",
      reads: ["scores"],
      writes: ["terms"],
    }),
    backward: defineKernel({
      ...shared,
      name: `${name}.backward`,
      entry: "backward",
      reads: ["scores", "gradOutput", "weight"],
      writes: ["gradScores"],
    }),
  };
}

/**
 * Mean loss of a discriminator's scores against one label; `weight` is their number.
 *
 * @param scores [N, …], before any sigmoid.
 * @param label 0 to 1, for all of them.
 */
export function ganLossForward(loss: GanLoss, scores: GpuArray, label: number): WeightedMean {
  const [images = 1] = scores.shape;
  const plane = scores.size / images;
  const { terms, runs } = emptyTerms(scores, images, plane);
  sliceByImage([scores], [terms], ([scores], [terms]) => {
    const images = terms.shape[0];
    dispatch(
      kernels[loss].forward,
      { scores, terms },
      { images, plane, runs, label },
      images * runs,
    );
  });
  return weightedMean(terms);
}

/** Gradient of {@link ganLossForward} to the scores; `weight` is what the forward returned. */
export function ganLossBackward(
  loss: GanLoss,
  gradOutput: GpuArray,
  scores: GpuArray,
  label: number,
  weight: GpuArray,
): GpuArray {
  const [images = 1] = scores.shape;
  const plane = scores.size / images;
  const gradScores = scores.gpu.empty(scores.shape, `gradient of ${loss}`);
  sliceByImage([scores], [gradScores], ([scores], [gradScores]) => {
    const images = scores.shape[0] ?? 1;
    dispatch(
      kernels[loss].backward,
      { scores, gradOutput, weight, gradScores },
      { images, plane, runs: 0, label },
      scores.size,
    );
  });
  return gradScores;
}
