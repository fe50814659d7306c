// Evaluation: whole images through the network, one confusion matrix, IoU.

import { argmaxResized } from "../../kernels/argmax.ts";
import { confusion } from "../../kernels/confusion.ts";
import { countNonfinite } from "../../kernels/nonfinite.ts";
import type { Size } from "../../kernels/planes.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../kernels/softmax.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Synchronous } from "../../nn/synchronous.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import { DataError, shortList } from "../base/data_error.ts";
import type { Sample, SampleStream } from "../data/samples.ts";
import type { Collective } from "../parallel/collective.ts";
import { addUp } from "../parallel/peers.ts";
import { Solo } from "../parallel/solo.ts";
import { ClassCorrelation } from "./class_correlation.ts";
import { forEachImageBatch } from "./image_batches.ts";
import { Information } from "./information.ts";
import { ConfusionMatrix, type Evaluation, unknownScores } from "./metrics.ts";

/**
 * Predicts the class of every pixel, [N, height, width], in the network's present mode.
 *
 * @param images [N, 3, h, w], from `uploadSamples`.
 * @param size Size of the prediction: the images' own.
 */
export function predictLabels(network: DeepLab, images: GpuArray, size: Size): GpuArray<"u32"> {
  return infer(network, images, (logits) => labelsOf(logits, size));
}

/**
 * The same as numbers, row by row, of one image.
 *
 * @throws {NonfiniteOutputError} If the logits are not finite: each pixel would be of the first class.
 */
export async function readPrediction(
  network: DeepLab,
  images: GpuArray,
  sample: Sample,
): Promise<Uint32Array> {
  const { labels, nonfinite } = infer(network, images, (logits) => ({
    labels: labelsOf(logits, sample.image),
    nonfinite: countNonfinite(network.gpu, [logits]),
  }));
  try {
    await checkOutput(nonfinite, [sample]);
    return await labels.read();
  } finally {
    for (const array of [labels, nonfinite]) array.release();
  }
}

/** A network whose logits are NaN or infinite, as weights of a diverging training make them. */
export class NonfiniteOutputError extends DataError {
  /** What was found, to stand after "as" in a sentence. */
  readonly reason: string;

  /** Makes the sentence about a network from a file. */
  constructor(reason: string) {
    super(
      `Cannot use the network as ${reason}: expected finite numbers; take another checkpoint, or train ` +
        `it with a lower learning rate`,
    );
    this.reason = reason;
  }
}

async function checkOutput(
  nonfinite: GpuArray<"u32">,
  samples: readonly Sample[],
): Promise<void> {
  const [count = 0] = await nonfinite.read();
  if (count === 0) return;
  const names = shortList(samples.map(({ name }) => name));
  throw new NonfiniteOutputError(`${count} of its logits for ${names} are NaN or infinite`);
}

function labelsOf(logits: GpuArray, size: Size): GpuArray<"u32"> {
  const { labels, confidence } = argmaxResized(logits, size);
  confidence.release();
  return labels;
}

/** What is made of a network's logits, without gradients. */
export function infer<T>(
  network: DeepLab,
  images: GpuArray,
  use: (logits: GpuArray) => Synchronous<T>,
): T {
  return noGrad(() => scope(() => use(network.forward(input(images)).logits.array)));
}

/** What a network makes of a set of images. */
export interface Measurement {
  /**
   * Counts of (label, prediction) at the labels' own resolution, over all images; zeros without
   * labels.
   */
  readonly confusion: ConfusionMatrix;
  /** Of the predicted probabilities, at the network's resolution. */
  readonly information: Information;
  /** Of the same. */
  readonly correlation: ClassCorrelation;
  /** Mean probability of the predicted class there, in percent. */
  readonly confidence: number;
  /** Whether there were labels. */
  readonly isLabelled: boolean;
}

/**
 * A measurement as scores; they are unknown without labels.
 *
 * @param source What the same network makes of held-out images of the source.
 */
export function evaluationOf(
  { confusion, information, correlation, isLabelled }: Measurement,
  source: Measurement | null = null,
): Evaluation {
  const scores = isLabelled ? confusion.scores() : unknownScores(confusion.classCount);
  return {
    ...scores,
    information: information.percent,
    correlation: correlation.percent,
    ...(source ? { source: source.confusion.scores() } : {}),
  };
}

/** Pixels after which counts on the GPU, 32 bits each, are taken to the host. */
const MAX_COUNT = 2 ** 31;

/**
 * Measures a network on every image of a sequential loader, from its first. The network's mode is
 * restored. Where several processes measure together, each has a loader of its share of the images, and all
 * get what all images say.
 *
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @param signal Stops before the next batch.
 * @throws {DataError} If a file cannot be read.
 * @throws {NonfiniteOutputError} If the network's logits are not finite.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function measure(
  network: DeepLab,
  loader: SampleStream,
  longSide: number,
  signal?: AbortSignal,
  ranks: Collective = new Solo(),
): Promise<Measurement> {
  const { gpu, classes } = network;
  const confusionMatrix = new ConfusionMatrix(classes);
  const information = new Information(classes);
  const correlation = new ClassCorrelation(classes);
  /** The sum over pixels of their largest probability, the pixels, and images without a label. */
  const sums = new Float64Array(3);
  let counts = gpu.zeros([classes, classes], "confusion", "u32");
  let counted = 0;
  try {
    await forEachImageBatch(network, loader, { longSide, signal }, async (batch) => {
      const { samples, size, images, labels } = batch;
      const pixels = samples.length * size.width * size.height;
      if (counted + pixels > MAX_COUNT) {
        confusionMatrix.add(await counts.read());
        counts.release();
        [counts, counted] = [gpu.zeros([classes, classes], "confusion", "u32"), 0];
      }
      counted += pixels;
      if (!labels) sums[2] += samples.length;
      const { predicted, probabilities, nonfinite } = infer(network, images, (logits) => ({
        predicted: labels && labelsOf(logits, size),
        probabilities: softmaxForward(logits),
        nonfinite: countNonfinite(gpu, [logits]),
      }));
      if (labels && predicted) confusion(predicted, labels, counts);
      try {
        await checkOutput(nonfinite, samples);
        const p = await probabilities.read();
        information.add(p, probabilities.shape);
        correlation.add(p, probabilities.shape);
        sums[0] += sumOfMaxima(p, probabilities.shape);
        sums[1] += p.length / classes;
      } finally {
        for (const array of [predicted, probabilities, nonfinite]) array?.release();
      }
    });
    confusionMatrix.add(await counts.read());
    await addUp(ranks, [confusionMatrix.counts, information.totals, correlation.totals, sums]);
    const [surest = 0, pixels = 0, unlabelled = 0] = sums;
    return {
      confusion: confusionMatrix,
      information,
      correlation,
      confidence: 100 * surest / Math.max(1, pixels),
      isLabelled: unlabelled === 0,
    };
  } finally {
    counts.release();
  }
}

/** The sum over pixels of their largest probability, of [N, K, h, w]. */
function sumOfMaxima(probabilities: Float32Array, shape: readonly number[]): number {
  const [images = 0, classes = 0, height = 0, width = 0] = shape;
  const plane = height * width;
  let sum = 0;
  for (let image = 0; image < images; image++) {
    const first = image * classes * plane;
    for (let pixel = first; pixel < first + plane; pixel++) {
      let largest = 0;
      for (let k = 0; k < classes; k++) {
        largest = Math.max(largest, probabilities[pixel + k * plane]);
      }
      sum += largest;
    }
  }
  return sum;
}
