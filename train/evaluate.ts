// Evaluation: whole images through the network, one confusion matrix, IoU.

import { argmaxResized } from "../kernels/argmax.ts";
import { confusion } from "../kernels/confusion.ts";
import type { GpuArray } from "../kernels/runtime/mod.ts";
import { packImages, packLabels, warpImages, warpLabels } from "../kernels/warp.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import { noGrad, scope } from "../nn/tape.ts";
import type { Loader, Sample } from "./loader.ts";
import { ConfusionMatrix, type Scores } from "./metrics.ts";
import { input } from "./stages/input.ts";
import { fullView } from "./views.ts";

/** One image and its labels on the GPU, at their own size. */
export interface FullImage {
  /** [1, 3, H, W], RGB in 0 to 1. */
  readonly image: GpuArray;
  /** Train ids, [1, H, W]; null where the data set reads no labels. */
  readonly label: GpuArray<"u32"> | null;
}

/** Uploads a sample as it is, without a view. Release both arrays. */
export function uploadSample(network: DeepLab, sample: Sample): FullImage {
  const gpu = network.gpu;
  const { width, height } = sample.image;
  const views = [fullView({ width, height }).imageView()];
  const size = { height, width };
  const packed = packImages(gpu, [sample.image]);
  const image = warpImages(packed, views, size);
  packed.release();
  if (!sample.label) return { image, label: null };
  const packedLabel = packLabels(gpu, [sample.label]);
  const label = warpLabels(packedLabel, views, size);
  packedLabel.release();
  return { image, label };
}

/** Predicts the class of every pixel at the image's own size, [1, H, W], in evaluation mode. */
export function predictLabels(network: DeepLab, image: GpuArray): GpuArray<"u32"> {
  const [, , height = 0, width = 0] = image.shape;
  return noGrad(() =>
    scope(() => {
      const { logits } = network.forward(input(image));
      const { labels, confidence } = argmaxResized(logits.array, { height, width });
      confidence.release();
      return labels;
    })
  );
}

/**
 * Scores a network on every labelled image of a sequential loader, from its first. The network's mode
 * is restored.
 *
 * @param signal Stops before the next image.
 * @throws {DataError} If a file cannot be read.
 * @throws {TypeError} If the data set reads no labels.
 */
export async function evaluate(
  network: DeepLab,
  loader: Loader,
  signal?: AbortSignal,
): Promise<Scores> {
  const { gpu, classes, training } = network;
  const counts = gpu.zeros([classes, classes], "confusion", "u32");
  network.eval();
  loader.seek(0);
  try {
    for (let [sample] = await loader.next(1); sample; [sample] = await loader.next(1)) {
      signal?.throwIfAborted();
      const { image, label } = uploadSample(network, sample);
      if (!label) throw new TypeError(`Cannot evaluate on "${sample.name}" as it has no label`);
      const predicted = predictLabels(network, image);
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
