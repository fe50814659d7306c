// Evaluation: whole images through the network, one confusion matrix, IoU.

import { argmaxResized } from "../kernels/argmax.ts";
import { confusion } from "../kernels/confusion.ts";
import type { Size } from "../kernels/planes.ts";
import type { Gpu, GpuArray } from "../kernels/runtime/mod.ts";
import { packImages, packLabels, warpImages, warpLabels } from "../kernels/warp.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import { noGrad, scope } from "../nn/tape.ts";
import type { Loader, Sample } from "./loader.ts";
import { ConfusionMatrix, type Scores } from "./metrics.ts";
import { input } from "./stages/input.ts";
import { fullView } from "./views.ts";

/** A whole image on the GPU as the network sees it, and its labels at their own size. */
export interface FullImage {
  /** [1, 3, h, w], RGB in 0 to 1, its long side as in training at scale 1. */
  readonly image: GpuArray;
  /** Train ids, [1, H, W]; null where the data set reads no labels. */
  readonly label: GpuArray<"u32"> | null;
}

/**
 * Uploads a sample without a random view. Release both arrays.
 *
 * @param longSide What the image's long side is resized to, `data.longSide` of the training.
 */
export function uploadSample(gpu: Gpu, sample: Sample, longSide: number): FullImage {
  const { width, height } = sample.image;
  const factor = longSide / Math.max(width, height);
  const size = {
    height: Math.max(1, Math.round(height * factor)),
    width: Math.max(1, Math.round(width * factor)),
  };
  const resized = fullView({ width, height }).append({ kind: "resize", ...size });
  using packed = packImages(gpu, [sample.image]);
  const image = warpImages(packed, [resized.imageView()], size);
  if (!sample.label) return { image, label: null };
  using packedLabel = packLabels(gpu, [sample.label]);
  const views = [fullView({ width, height }).imageView()];
  return { image, label: warpLabels(packedLabel, views, { height, width }) };
}

/**
 * Predicts the class of every pixel, [1, height, width], in the network's present mode.
 *
 * @param image [1, 3, h, w], from {@link uploadSample}.
 * @param size Size of the prediction: the image's own.
 */
export function predictLabels(network: DeepLab, image: GpuArray, size: Size): GpuArray<"u32"> {
  return noGrad(() =>
    scope(() => {
      const { logits } = network.forward(input(image));
      const { labels, confidence } = argmaxResized(logits.array, size);
      confidence.release();
      return labels;
    })
  );
}

/**
 * Scores a network on every labelled image of a sequential loader, from its first. The network's mode
 * is restored.
 *
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @param signal Stops before the next image.
 * @throws {DataError} If a file cannot be read.
 * @throws {TypeError} If the data set reads no labels.
 */
export async function evaluate(
  network: DeepLab,
  loader: Loader,
  longSide: number,
  signal?: AbortSignal,
): Promise<Scores> {
  const { gpu, classes, training } = network;
  const counts = gpu.zeros([classes, classes], "confusion", "u32");
  network.eval();
  loader.seek(0);
  try {
    for (let [sample] = await loader.next(1); sample; [sample] = await loader.next(1)) {
      signal?.throwIfAborted();
      const { image, label } = uploadSample(gpu, sample, longSide);
      if (!label) throw new TypeError(`Cannot evaluate on "${sample.name}" as it has no label`);
      const predicted = predictLabels(network, image, sample.image);
      confusion(predicted, label, counts);
      for (const array of [image, label, predicted]) array.release();
      gpu.flush();
    }
    const matrix = new ConfusionMatrix(classes);
    matrix.add(await counts.read());
    return matrix.scores();
  } finally {
    network.train(training);
    counts.release();
  }
}
