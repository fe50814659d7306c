// Evaluation: whole images through the network, one confusion matrix, IoU.

import { argmaxResized } from "../../kernels/argmax.ts";
import { confusion } from "../../kernels/confusion.ts";
import type { Size } from "../../kernels/planes.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../kernels/softmax.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Synchronous } from "../../nn/synchronous.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import type { Loader } from "../data/loader.ts";
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

function labelsOf(logits: GpuArray, size: Size): GpuArray<"u32"> {
  const { labels, confidence } = argmaxResized(logits, size);
  confidence.release();
  return labels;
}

function infer<T>(
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
  /** Whether there were labels. */
  readonly isLabelled: boolean;
}

/** A measurement as scores; they are unknown without labels. */
export function evaluationOf({ confusion, information, isLabelled }: Measurement): Evaluation {
  const scores = isLabelled ? confusion.scores() : unknownScores(confusion.classCount);
  return { ...scores, information: information.percent };
}

/** Pixels after which counts on the GPU, 32 bits each, are taken to the host. */
const MAX_COUNT = 2 ** 31;

/**
 * Measures a network on every image of a sequential loader, from its first. The network's mode is
 * restored.
 *
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @param signal Stops before the next batch.
 * @throws {DataError} If a file cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function measure(
  network: DeepLab,
  loader: Loader,
  longSide: number,
  signal?: AbortSignal,
): Promise<Measurement> {
  const { gpu, classes } = network;
  const confusionMatrix = new ConfusionMatrix(classes);
  const information = new Information(classes);
  let isLabelled = true;
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
      isLabelled &&= labels !== null;
      const { predicted, probabilities } = infer(network, images, (logits) => ({
        predicted: labels && labelsOf(logits, size),
        probabilities: softmaxForward(logits),
      }));
      if (labels && predicted) confusion(predicted, labels, counts);
      information.add(await probabilities.read(), probabilities.shape);
      for (const array of [predicted, probabilities]) array?.release();
    });
    confusionMatrix.add(await counts.read());
    return { confusion: confusionMatrix, information, isLabelled };
  } finally {
    counts.release();
  }
}
