// Labels of target pixels in stage 1: the paper's (equations 2 and 3), and those it is compared with.

import { scaleForward } from "../../../kernels/elementwise.ts";
import { denoiseLabels, rectifySoftLabels, whereLabelled } from "../../../kernels/rectification.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { AS_IN_THE_PAPER, type DenoiseSettings } from "./settings.ts";

/** How target pixels are labelled; as in the paper unless given. */
export type TargetLabelOptions =
  & Readonly<Pick<DenoiseSettings, "temperature">>
  & Readonly<Partial<Pick<DenoiseSettings, "softLabels" | "reweighting" | "labels" | "threshold">>>;

/** What is known about target pixels; all of one height and width. */
export interface TargetEvidence {
  /** p_{t,0}, [N, K, H, W]; all zero outside the image. */
  readonly softLabels: GpuArray;
  /** The momentum encoder's logits, [N, K, H, W]. */
  readonly logits: GpuArray;
  /** Distances of its features to the prototypes, [N, K, H, W]. */
  readonly distances: GpuArray;
}

/** Labels of target pixels; the caller's to release. */
export interface TargetLabels {
  /** The most likely class, [N, H, W]; `IGNORE` outside the image and below the threshold. */
  readonly labels: GpuArray<"u32">;
  /** Its probability, [N, H, W]; 0 outside the image. */
  readonly confidence: GpuArray;
  /** Probabilities of all classes, [N, K, H, W]; null where labels are hard. */
  readonly soft: GpuArray | null;
}

/**
 * Labels target pixels: ŷ = ξ(ω p_{t,0}) (eq. 2), or one of its variants.
 *
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the temperature is not positive.
 */
export function labelTargetPixels(
  evidence: TargetEvidence,
  options: TargetLabelOptions,
): TargetLabels {
  const { softLabels, labels, threshold } = { ...AS_IN_THE_PAPER, ...options };
  using weighed = softLabels === "moving" ? predicted(evidence) : evidence.softLabels.retain();
  const { costs, temperature } = costsOf(evidence, options);
  const hard = denoiseLabels(weighed, costs, { temperature, threshold, ignoreLabel: IGNORE });
  const soft = labels === "soft" ? rectifySoftLabels(weighed, costs, temperature) : null;
  costs?.release();
  return { ...hard, soft };
}

/** The costs d of classes, [N, K, H, W], for which ω = softmax(−d / temperature); null for equal ones. */
function costsOf(
  { logits, distances }: TargetEvidence,
  options: TargetLabelOptions,
): { costs: GpuArray | null; temperature: number } {
  const { reweighting, temperature } = { ...AS_IN_THE_PAPER, ...options };
  switch (reweighting) {
    case "prototypes":
      return { costs: distances.retain(), temperature };
    case "prediction":
      return { costs: scaleForward(logits, -1), temperature: 1 };
    case "none":
      return { costs: null, temperature };
  }
}

/** The momentum encoder's probabilities where there is an image, elsewhere 0 as in the soft labels. */
function predicted({ softLabels, logits }: TargetEvidence): GpuArray {
  using probabilities = softmaxForward(logits);
  return whereLabelled(probabilities, softLabels);
}
