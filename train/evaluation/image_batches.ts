// Whole images in batches of one size, as a network in evaluation mode sees them.

import type { Size } from "../../kernels/planes.ts";
import type { LabelRange } from "../../kernels/labels.ts";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { packImages, packLabels, warpImages, warpLabels } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Sample, SampleStream } from "../data/samples.ts";
import { fullView } from "../views/views.ts";

/**
 * Whole images of one size on the GPU as the network sees them, and their labels at their own size.
 */
export interface FullImages {
  /** [N, 3, h, w], RGB in 0 to 1, the long side as in training at scale 1. */
  readonly images: GpuArray;
  /** Train ids, [N, H, W]; null where the data set reads no labels. */
  readonly labels: GpuArray<"u32"> | null;
}

/** The size in which a network sees an image whose long side is resized; at least a pixel each way. */
export function networkSize({ height, width }: Size, longSide: number): Size {
  const factor = longSide / Math.max(width, height);
  const resized = (side: number) => Math.max(1, Math.round(side * factor));
  return { height: resized(height), width: resized(width) };
}

/**
 * Uploads samples of one size without random views. Release both arrays.
 *
 * @param samples At least one.
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 * @param range Which labels there may be; any unless given.
 * @throws {RangeError} If a label is out of range.
 */
export function uploadSamples(
  gpu: Gpu,
  samples: readonly Sample[],
  longSide: number,
  range?: LabelRange,
): FullImages {
  const { width, height } = (samples[0] as Sample).image;
  const whole = fullView({ width, height });
  const size = networkSize({ width, height }, longSide);
  const resized = whole.append({ kind: "resize", ...size }).imageView();
  using packed = packImages(gpu, samples.map(({ image }) => image));
  const images = warpImages(packed, samples.map(() => resized), size);
  const labelled = samples.flatMap(({ label }) => label ?? []);
  if (labelled.length < samples.length) return { images, labels: null };
  using packedLabels = packLabels(gpu, labelled, range);
  const views = samples.map(() => whole.imageView());
  return { images, labels: warpLabels(packedLabels, views, { height, width }) };
}

/** Most images of an evaluation batch. */
const BATCH_IMAGES = 8;
/** Pixels of one evaluation batch: small images keep the GPU busy only together. */
const BATCH_PIXELS = 2 ** 18;

/** How many images of one size make an evaluation batch. */
export function evaluationBatch({ height, width }: Size): number {
  return Math.max(1, Math.min(BATCH_IMAGES, Math.floor(BATCH_PIXELS / (height * width))));
}

/** Every sample of a sequential loader, from its first, in batches of one size. */
async function* sameSizeBatches(loader: SampleStream): AsyncGenerator<Sample[]> {
  loader.seek(0);
  const next = () => loader.next(BATCH_IMAGES);
  for (let samples = await next(); samples.length > 0; samples = await next()) {
    let batch: Sample[] = [];
    for (const sample of samples) {
      const { width, height } = sample.image;
      const first = batch[0]?.image;
      const fits = first?.width === width && first.height === height &&
        batch.length < evaluationBatch(first);
      if (first && !fits) {
        yield batch;
        batch = [];
      }
      batch.push(sample);
    }
    yield batch;
  }
}

/** Runs `body` with a network in evaluation mode, and puts back the mode that it was in. */
export async function inEvaluation<T>(network: DeepLab, body: () => Promise<T>): Promise<T> {
  const { training } = network;
  network.eval();
  try {
    return await body();
  } finally {
    network.train(training);
  }
}

/** Images of one size, on the GPU until the function that gets them has returned. */
export interface ImageBatch extends FullImages {
  /** At least one. */
  readonly samples: readonly Sample[];
  /** Size of the images before they were resized. */
  readonly size: Size;
}

/**
 * Hands over every image of a sequential loader, from its first, in batches of one size. The
 * network is in evaluation mode meanwhile.
 *
 * @param options `longSide` is what an image's long side is resized to, `data.longSide` of the
 * training; the signal stops before the next batch.
 * @param use Takes a batch, whose arrays are released afterwards.
 * @throws {DataError} If a file cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export function forEachImageBatch(
  network: DeepLab,
  loader: SampleStream,
  { longSide, signal }: { longSide: number; signal?: AbortSignal | undefined },
  use: (batch: ImageBatch) => void | Promise<void>,
): Promise<void> {
  return inEvaluation(network, async () => {
    for await (const samples of sameSizeBatches(loader)) {
      signal?.throwIfAborted();
      const { images, labels } = uploadSamples(network.gpu, samples, longSide, network);
      try {
        await use({ samples, size: samples[0].image, images, labels });
      } finally {
        images.release();
        labels?.release();
      }
    }
  });
}
