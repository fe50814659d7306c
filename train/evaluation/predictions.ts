/**
 * What a network predicts on images without labels: which classes, how sure, and whether it says the
 * same of other views of an image.
 *
 * @module
 */
import { argmax, argmaxResized } from "../../kernels/argmax.ts";
import type { Size } from "../../kernels/planes.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { warpMaps } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Loader } from "../data/loader.ts";
import { type ViewOperation, ViewTransform } from "../views/view_transform.ts";
import { infer } from "./evaluate.ts";
import { forEachImageBatch } from "./image_batches.ts";
import { ConfusionMatrix } from "./metrics.ts";

/** Predictions on a set of images, over the pixels of the network's output. All numbers are percentages. */
export interface Predictions {
  /** Share of the pixels that are predicted as each class. */
  readonly shares: readonly number[];
  /** Mean probability of the predicted class. */
  readonly confidence: number;
  /**
   * Share of the pixels that have the same class in another view of the image: the mean of that in its
   * mirror image and of that in the image at three quarters of its size.
   */
  readonly agreement: number;
}

/** The smaller view, as a share of the image's size. */
const SMALLER = 0.75;

/**
 * Looks at what a network predicts on every image of a sequential loader, from its first; labels are
 * not read. The network's mode is restored.
 *
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @throws {DataError} If a file cannot be read.
 */
export async function lookAt(
  network: DeepLab,
  loader: Loader,
  longSide: number,
): Promise<Predictions> {
  const counts = new Float64Array(network.classes);
  let [confidence, agreeing, pixels] = [0, 0, 0];
  await forEachImageBatch(network, loader, { longSide }, async ({ images }) => {
    const whole = infer(network, images, argmax);
    const [, height = 0, width = 0] = whole.labels.shape;
    const resized = (logits: GpuArray) => argmaxResized(logits, { height, width });
    using mirrored = mirror(images);
    const ofMirrored = infer(network, mirrored, resized);
    using smaller = shrink(images);
    const ofSmaller = infer(network, smaller, resized);
    const arrays = [whole, ofMirrored, ofSmaller].flatMap(({ labels, confidence }) => [
      labels,
      confidence,
    ]);
    try {
      const labels = await whole.labels.read();
      const other = await ofMirrored.labels.read();
      const small = await ofSmaller.labels.read();
      for (const value of await whole.confidence.read()) confidence += value;
      for (let at = 0; at < labels.length; at++) {
        const x = at % width;
        const opposite = at + width - 1 - 2 * x;
        counts[labels[at]]++;
        agreeing += Number(other[opposite] === labels[at]) + Number(small[at] === labels[at]);
      }
      pixels += labels.length;
    } finally {
      for (const array of arrays) array.release();
    }
  });
  return {
    shares: Array.from(counts, (count) => 100 * count / pixels),
    confidence: 100 * confidence / pixels,
    agreement: 100 * agreeing / (2 * pixels),
  };
}

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
  loader: Loader,
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

/** Images or maps from right to left. */
export function mirror(maps: GpuArray): GpuArray {
  return viewed(maps, sizeOf(maps), { kind: "flip" });
}

function shrink(images: GpuArray): GpuArray {
  const { height, width } = sizeOf(images);
  const size = {
    height: Math.max(1, Math.round(SMALLER * height)),
    width: Math.max(1, Math.round(SMALLER * width)),
  };
  return viewed(images, size, { kind: "resize", ...size });
}

function viewed(maps: GpuArray, size: Size, operation: ViewOperation): GpuArray {
  const view = new ViewTransform(sizeOf(maps), [operation]).imageView();
  return warpMaps(maps, Array<typeof view>(maps.shape[0]).fill(view), size);
}

function sizeOf({ shape: [, , height = 0, width = 0] }: GpuArray): Size {
  return { height, width };
}
