// The losses of ProDA under the paper's names. Each returns a scalar tensor, the mean over pixels.

import { softmaxForward } from "../../../kernels/softmax.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import {
  crossEntropy,
  klDivergence,
  softCrossEntropy,
  symmetricCrossEntropy,
  uniformPrior,
} from "../../../nn/functional/losses.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import type { Variant } from "./settings.ts";

/**
 * Cross entropy of labelled source images, ℓ_ce(source) of equation 11, at the size of the labels.
 *
 * @param logits [N, K, h, w], resized to the labels bilinearly where they differ in size.
 * @param labels Train ids, [N, H, W].
 */
export function sourceLoss(logits: Tensor, labels: GpuArray<"u32">): Tensor {
  return crossEntropy(resizedTo(logits, labels), labels, { ignoreLabel: IGNORE });
}

/**
 * Self-training: cross entropy with hard pseudo labels of the target (equation 1, and the middle term
 * of equation 12), at the size of the labels.
 *
 * @param logits [N, K, h, w], resized to the labels bilinearly where they differ in size.
 * @param labels Pseudo labels, [N, H, W].
 */
export function selfTrainingLoss(logits: Tensor, labels: GpuArray<"u32">): Tensor {
  return crossEntropy(resizedTo(logits, labels), labels, { ignoreLabel: IGNORE });
}

/**
 * Masked image consistency (MIC, Hoyer et al., 2023, section 3.2): cross entropy of a masked image with the
 * labels of the whole one, weighed by their quality.
 *
 * @param logits [N, K, H, W].
 * @param labels Pseudo labels, [N, H, W].
 * @param pixelWeights q of each image at its pixels, [N, H, W]; null for 1.
 */
export function maskedLoss(
  logits: Tensor,
  labels: GpuArray<"u32">,
  pixelWeights: GpuArray | null,
): Tensor {
  return crossEntropy(logits, labels, { ignoreLabel: IGNORE, pixelWeights });
}

/** Weights of the symmetric losses. */
export interface SymmetricWeights {
  /** Of cross entropy, α; 0.1 unless given. */
  readonly alpha?: number;
  /** Of reverse cross entropy, β; 1 unless given. */
  readonly beta?: number;
  /** What the loss of each pixel is multiplied by, [N, H, W]; 1 unless given. */
  readonly pixelWeights?: GpuArray | null;
}

/**
 * Symmetric cross entropy with denoised labels, ℓ_sce (equation 6), which bears wrong labels better.
 *
 * @param logits [N, K, h, w], resized to the labels bilinearly where they differ in size.
 * @param labels Denoised labels, [N, H, W].
 * @param weights As in the paper unless given.
 */
export function symmetricLoss(
  logits: Tensor,
  labels: GpuArray<"u32">,
  weights: SymmetricWeights = {},
): Tensor {
  return symmetricCrossEntropy(resizedTo(logits, labels), labels, {
    ...weights,
    ignoreLabel: IGNORE,
  });
}

/**
 * {@link symmetricLoss} with the probabilities of all classes in the place of the most likely one.
 *
 * @param logits [N, K, H, W].
 * @param softLabels Rectified soft labels, [N, K, H, W].
 * @param labels The hard labels, [N, H, W]: where these are ignored, so is the pixel.
 */
export function softSymmetricLoss(
  logits: Tensor,
  softLabels: GpuArray,
  labels: GpuArray<"u32">,
  weights: SymmetricWeights = {},
): Tensor {
  return softCrossEntropy(logits, softLabels, labels, { ...weights, ignoreLabel: IGNORE });
}

/**
 * Target-structure loss ℓ_kl = KL(z_T ‖ z_T') of the assignments to prototypes in two views
 * (equations 7 to 9), over the pixels that both see.
 *
 * @param distances Distances of the network's features of the strong view, [N, K, H, W].
 * @param weakDistances Distances of the momentum encoder's features of the weak view, moved to the
 *   frame of the strong one, [N, K, H, W].
 * @param mask Not zero where both views see the pixel, [N, H, W].
 * @param options.temperature τ, 1 in the paper.
 * @param options.normalisation The mean is over pixels (paper) or over pixels and classes (official).
 */
export function structureLoss(
  distances: Tensor,
  weakDistances: GpuArray,
  mask: AnyArray,
  { temperature = 1, normalisation = "paper" }: {
    readonly temperature?: number;
    readonly normalisation?: Variant;
  } = {},
): Tensor {
  const scale = -1 / temperature;
  using assignment = softmaxForward(weakDistances, scale);
  return klDivergence(distances, assignment, {
    mask,
    scale,
    divideByClasses: normalisation === "official",
  });
}

/**
 * Regulariser ℓ_reg = −Σ_k log p^(k) (equation 10), which keeps classes from emptying.
 *
 * @param logits [N, K, H, W].
 * @param options.normalisation The mean is over pixels (paper) or over pixels and classes (official).
 */
export function regulariser(
  logits: Tensor,
  { normalisation = "paper" }: { readonly normalisation?: Variant } = {},
): Tensor {
  return uniformPrior(logits, { divideByClasses: normalisation === "official" });
}

/**
 * Distillation KL(p_t ‖ p†) from a frozen teacher to a student (last term of equation 12).
 *
 * @param logits The student's, [N, K, H, W].
 * @param teacher The teacher's probabilities, [N, K, H, W].
 * @param options.formula The divergence, the mean over pixels (paper), or the released code's: the
 *   softmax in the place of its logarithm, the mean over pixels and classes. That can be negative.
 * @param options.mask Only pixels that are not 0 here count, [N, H, W]; all unless given.
 */
export function distillationLoss(
  logits: Tensor,
  teacher: GpuArray,
  { formula = "paper", mask = null }: {
    readonly formula?: Variant;
    readonly mask?: AnyArray | null;
  } = {},
): Tensor {
  const official = formula === "official";
  return klDivergence(logits, teacher, { mask, divideByClasses: official, softmaxAsLog: official });
}

function resizedTo(logits: Tensor, labels: GpuArray<"u32">): Tensor {
  const [, height, width] = labels.shape;
  const [, , rows, columns] = logits.shape;
  return rows === height && columns === width ? logits : resizeBilinear(logits, { height, width });
}
