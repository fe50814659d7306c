// Losses: each returns a scalar tensor. The backward keeps the inputs and the divisor of the mean,
// which stays on the GPU (NT-Xent keeps a number for each row too); probabilities are computed
// again.

import { mapSizes } from "../../kernels/class_map.ts";
import {
  crossEntropyBackward,
  crossEntropyForward,
  type CrossEntropyInputs,
  type CrossEntropyOptions,
} from "../../kernels/cross_entropy.ts";
import { fill } from "../../kernels/elementwise.ts";
import { featureDistanceBackward, featureDistanceForward } from "../../kernels/feature_distance.ts";
import { type GanLoss, ganLossBackward, ganLossForward } from "../../kernels/gan_loss.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import { klDivergenceBackward, klDivergenceForward } from "../../kernels/kl_divergence.ts";
import { ntXentBackward, ntXentForward } from "../../kernels/nt_xent.ts";
import type { AnyArray, GpuArray } from "../../kernels/runtime/mod.ts";
import {
  softCrossEntropyBackward,
  softCrossEntropyForward,
} from "../../kernels/soft_cross_entropy.ts";
import { uniformPriorBackward, uniformPriorForward } from "../../kernels/uniform_prior.ts";
import type { WeightedMean } from "../../kernels/weighted_mean.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/** Records a loss whose gradient to `input` needs the divisor of its mean. */
function recordMean(
  name: string,
  { mean, weight }: WeightedMean,
  input: Tensor,
  saved: readonly AnyArray[],
  backward: (gradOutput: GpuArray, weight: GpuArray) => GpuArray,
): Tensor {
  const loss = record(
    name,
    mean,
    [input],
    // The tape only keeps saved arrays alive: their element type does not matter to it.
    [input.array, weight, ...saved as readonly GpuArray[]],
    (gradOutput) => [backward(gradOutput, weight)],
  );
  weight.release();
  return loss;
}

/** Which pixels a cross entropy is of, and what they weigh. */
export interface PixelOptions {
  /** Pixels with this label do not count; {@link IGNORE} unless given. */
  readonly ignoreLabel?: number;
  /**
   * What the loss of each pixel is multiplied by, [N, H, W], constant; all count alike unless given. The
   * mean is divided by the number of pixels that count, whatever they weigh.
   */
  readonly pixelWeights?: GpuArray | null;
}

/** Weights of the two parts of a symmetric cross entropy. */
export interface SymmetricOptions extends PixelOptions {
  /** Of the cross entropy, 0.1 unless given. */
  readonly alpha?: number;
  /** Of the reverse cross entropy, 1 unless given. */
  readonly beta?: number;
}

/**
 * Mean over pixels of −log softmax(logits) at the label; 0 where no pixel counts.
 *
 * @param logits [N, K, H, W].
 * @param labels [N, H, W]; a pixel counts where its label is below K and not `ignoreLabel`. Others are
 *   passed over without an error: `kernels.uploadLabels` finds them.
 * @throws {TypeError} If the shapes do not fit.
 */
export function crossEntropy(
  logits: Tensor,
  labels: GpuArray<"u32">,
  { ignoreLabel = IGNORE, pixelWeights = null }: PixelOptions = {},
): Tensor {
  const inputs = { logits: logits.array, labels, pixelWeights };
  return labelLoss("cross_entropy", logits, inputs, { ignoreLabel, alpha: 1, beta: 0 });
}

/**
 * Symmetric cross entropy (ProDA, equation 6): alpha CE(p, y) + beta CE(y, p), the mean over
 * pixels, p clamped to at least 1e-7 and the one-hot y to 1e-4 in the second term; 0 where no pixel
 * counts.
 *
 * @param logits [N, K, H, W].
 * @param labels [N, H, W]; a pixel counts where its label is below K and not `ignoreLabel`. Others are
 *   passed over without an error: `kernels.uploadLabels` finds them.
 * @throws {TypeError} If the shapes do not fit.
 */
export function symmetricCrossEntropy(
  logits: Tensor,
  labels: GpuArray<"u32">,
  { alpha = 0.1, beta = 1, ignoreLabel = IGNORE, pixelWeights = null }: SymmetricOptions = {},
): Tensor {
  const inputs = { logits: logits.array, labels, pixelWeights };
  return labelLoss("symmetric_cross_entropy", logits, inputs, { ignoreLabel, alpha, beta });
}

function labelLoss(
  name: string,
  logits: Tensor,
  inputs: CrossEntropyInputs,
  options: CrossEntropyOptions,
): Tensor {
  return recordMean(
    name,
    crossEntropyForward(inputs, options),
    logits,
    [inputs.labels, ...inputs.pixelWeights ? [inputs.pixelWeights] : []],
    (gradOutput, weight) => crossEntropyBackward(gradOutput, inputs, weight, options),
  );
}

/**
 * Symmetric cross entropy (ProDA, equation 6) with soft labels y: alpha CE(p, y) + beta CE(y, p),
 * the mean over pixels, p clamped to at least 1e-7 and y to 1e-4 in the second term; 0 where no
 * pixel counts. The gradient goes to the logits only.
 *
 * @param logits [N, K, H, W].
 * @param softLabels Probabilities [N, K, H, W], constant.
 * @param labels [N, H, W]; a pixel counts where this is not `ignoreLabel`.
 * @throws {TypeError} If the shapes do not fit.
 */
export function softCrossEntropy(
  logits: Tensor,
  softLabels: GpuArray,
  labels: GpuArray<"u32">,
  { alpha = 0.1, beta = 1, ignoreLabel = IGNORE, pixelWeights = null }: SymmetricOptions = {},
): Tensor {
  const inputs = { logits: logits.array, softLabels, labels, pixelWeights };
  const constants = { alpha, beta, ignoreLabel };
  return recordMean(
    "soft_cross_entropy",
    softCrossEntropyForward(inputs, constants),
    logits,
    [softLabels, labels, ...pixelWeights ? [pixelWeights] : []],
    (gradOutput, weight) => softCrossEntropyBackward(gradOutput, inputs, weight, constants),
  );
}

/** Options of {@link klDivergence}. */
export interface KlOptions {
  /** [N, H, W], floats or integers: only pixels that are not 0 here count; all unless given. */
  readonly mask?: AnyArray | null;
  /** Factor of the logits inside the softmax, −1 / temperature for distances; 1 unless given. */
  readonly scale?: number;
  /** Whether the mean is over pixels and classes, as in ProDA's released code. */
  readonly divideByClasses?: boolean;
  /**
   * Whether the softmax stands in the place of its logarithm, as in ProDA's released distillation.
   */
  readonly softmaxAsLog?: boolean;
}

/**
 * Mean over pixels of KL(targets ‖ softmax(scale logits)) (ProDA, equations 9 and 12); 0 where no
 * pixel counts. The gradient goes to the logits only.
 *
 * @param logits [N, K, H, W].
 * @param targets Probabilities [N, K, H, W], constant.
 * @throws {TypeError} If the shapes do not fit.
 */
export function klDivergence(
  logits: Tensor,
  targets: GpuArray,
  { mask, scale = 1, divideByClasses = false, softmaxAsLog = false }: KlOptions = {},
): Tensor {
  const [, classes] = logits.shape;
  const options = {
    scale,
    divisor: divideByClasses ? classes : 1,
    formula: softmaxAsLog ? "softmaxAsLog" : "divergence",
  } as const;
  using counted = mask?.retain() ?? everyPixel(logits.array);
  return recordMean(
    "kl_divergence",
    klDivergenceForward(logits.array, targets, counted, options),
    logits,
    [targets, counted],
    (gradOutput, weight) =>
      klDivergenceBackward(gradOutput, logits.array, targets, counted, weight, options),
  );
}

function everyPixel(map: GpuArray): GpuArray {
  const { images, height, width } = mapSizes("kl_divergence", map);
  const mask = map.gpu.empty([images, height, width], "mask of all pixels");
  fill(mask, 1);
  return mask;
}

/**
 * Regulariser −Σ_k log softmax(logits)_k (ProDA, equation 10), the mean over pixels. It is least
 * where all classes are equally likely.
 *
 * @param logits [N, K, H, W].
 * @param options.divideByClasses Whether the mean is over pixels and classes, as in ProDA's
 *   released code.
 * @throws {TypeError} If the logits have another number of axes.
 */
export function uniformPrior(
  logits: Tensor,
  { divideByClasses = false }: { readonly divideByClasses?: boolean } = {},
): Tensor {
  const [, classes] = logits.shape;
  return recordMean(
    "uniform_prior",
    uniformPriorForward(logits.array, divideByClasses ? classes : 1),
    logits,
    [],
    (gradOutput, weight) => uniformPriorBackward(gradOutput, logits.array, weight),
  );
}

/**
 * Mean over pixels of the Euclidean distance of features to constant ones (Hoyer et al., DAFormer,
 * CVPR 2022, equations 6 and 7); 0 where no pixel counts. The gradient of a pixel at distance 0 is 0.
 *
 * @param features [N, C, H, W].
 * @param anchors [N, C, H, W], constant.
 * @param mask [N, H, W], floats or integers: only pixels that are not 0 here count.
 * @throws {TypeError} If the shapes do not fit.
 */
export function featureDistance(features: Tensor, anchors: GpuArray, mask: AnyArray): Tensor {
  return recordMean(
    "feature_distance",
    featureDistanceForward(features.array, anchors, mask),
    features,
    [anchors, mask],
    (gradOutput, weight) =>
      featureDistanceBackward(gradOutput, features.array, anchors, mask, weight),
  );
}

/**
 * Mean of (scores − label)², the least-squares GAN loss (Mao et al., 2017).
 *
 * @param scores A discriminator's, [N, 1, H, W] or any shape.
 * @param label What all of them should be, such as 0 for source and 1 for target.
 */
export function leastSquaresLoss(scores: Tensor, label: number): Tensor {
  return ganLoss("leastSquares", scores, label);
}

/**
 * Mean binary cross entropy of sigmoid(scores) with one label (GAN loss, Goodfellow et al., 2014).
 *
 * @param scores A discriminator's before the sigmoid, [N, 1, H, W] or any shape.
 * @param label 0 to 1.
 */
export function bceWithLogitsLoss(scores: Tensor, label: number): Tensor {
  return ganLoss("bceWithLogits", scores, label);
}

function ganLoss(loss: GanLoss, scores: Tensor, label: number): Tensor {
  return recordMean(
    "gan_loss",
    ganLossForward(loss, scores.array, label),
    scores,
    [],
    (gradOutput, weight) => ganLossBackward(loss, gradOutput, scores.array, label, weight),
  );
}

/**
 * NT-Xent, the contrastive loss of SimCLR (Chen et al., 2020, equation 1): the mean over rows of
 * −log of the share of their partner in the softmax over all other rows.
 *
 * @param similarities [2B, 2B], of rows of length 1; rows i and i + B are two views of the same
 *   thing.
 * @param temperature τ, by which similarities are divided.
 * @throws {TypeError} If the matrix is not square with an even number of rows.
 */
export function ntXent(similarities: Tensor, temperature: number): Tensor {
  const { logSums, ...mean } = ntXentForward(similarities.array, temperature);
  const loss = recordMean(
    "nt_xent",
    mean,
    similarities,
    [logSums],
    (gradOutput, weight) =>
      ntXentBackward(gradOutput, similarities.array, { logSums, weight }, temperature),
  );
  logSums.release();
  return loss;
}
