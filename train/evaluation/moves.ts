/**
 * How two networks' predictions of the same images differ.
 *
 * @module
 */
import { argmax } from "../../kernels/argmax.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { SampleStream } from "../data/samples.ts";
import { infer } from "./evaluate.ts";
import { forEachImageBatch } from "./image_batches.ts";
import { ConfusionMatrix } from "./metrics.ts";

/**
 * The predicted class of every pixel of the network's output, batch by batch, for every image of a
 * sequential loader from its first. The network's mode is restored.
 *
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @param signal Stops before the next batch.
 * @throws {DataError} If a file cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function predictedClasses(
  network: DeepLab,
  loader: SampleStream,
  longSide: number,
  signal?: AbortSignal,
): Promise<Uint32Array[]> {
  const classes: Uint32Array[] = [];
  await forEachImageBatch(network, loader, { longSide, signal }, async ({ images }) => {
    const { labels, confidence } = infer(network, images, argmax);
    try {
      classes.push(await labels.read());
    } finally {
      for (const array of [labels, confidence]) array.release();
    }
  });
  return classes;
}

/**
 * How the classes of pixels have moved from one network's predictions of images to another's.
 *
 * @param before, now What {@link predictedClasses} gives for each, of K classes.
 * @returns Counts of pixels: rows are the classes before, columns those now.
 */
export function movesBetween(
  before: readonly Uint32Array[],
  now: readonly Uint32Array[],
  classCount: number,
): ConfusionMatrix {
  const moves = new ConfusionMatrix(classCount);
  before.forEach((classes, batch) => moves.addPixels(classes, now[batch]));
  return moves;
}
