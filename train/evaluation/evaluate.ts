// Evaluation: whole images through the network, one confusion matrix, IoU.

import { argmaxResized } from "../../kernels/argmax.ts";
import { confusion } from "../../kernels/confusion.ts";
import type { Size } from "../../kernels/planes.ts";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { packImages, packLabels, warpImages, warpLabels } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { softmaxForward } from "../../kernels/softmax.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import { Information } from "./information.ts";
import type { Loader, Sample } from "../data/loader.ts";
import { ConfusionMatrix, type Evaluation, type Scores, unknownScores } from "./metrics.ts";
import { fullView } from "../views/views.ts";

/** Whole images of one size on the GPU as the network sees them, and their labels at their own size. */
export interface FullImages {
  /** [N, 3, h, w], RGB in 0 to 1, the long side as in training at scale 1. */
  readonly images: GpuArray;
  /** Train ids, [N, H, W]; null where the data set reads no labels. */
  readonly labels: GpuArray<"u32"> | null;
}

/**
 * Uploads samples of one size without random views. Release both arrays.
 *
 * @param samples At least one.
 * @param longSide What an image's long side is resized to, `data.longSide` of the training.
 */
export function uploadSamples(gpu: Gpu, samples: readonly Sample[], longSide: number): FullImages {
  const { width, height } = (samples[0] as Sample).image;
  const whole = fullView({ width, height });
  const factor = longSide / Math.max(width, height);
  const size = {
    height: Math.max(1, Math.round(height * factor)),
    width: Math.max(1, Math.round(width * factor)),
  };
  const resized = whole.append({ kind: "resize", ...size }).imageView();
  using packed = packImages(gpu, samples.map(({ image }) => image));
  const images = warpImages(packed, samples.map(() => resized), size);
  const labelled = samples.flatMap(({ label }) => label ?? []);
  if (labelled.length < samples.length) return { images, labels: null };
  using packedLabels = packLabels(gpu, labelled);
  const views = samples.map(() => whole.imageView());
  return { images, labels: warpLabels(packedLabels, views, { height, width }) };
}

/**
 * Predicts the class of every pixel, [N, height, width], in the network's present mode.
 *
 * @param images [N, 3, h, w], from {@link uploadSamples}.
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

function infer<T>(network: DeepLab, images: GpuArray, use: (logits: GpuArray) => T): T {
  return noGrad(() => scope(() => use(network.forward(input(images)).logits.array)));
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
export async function* sameSizeBatches(loader: Loader): AsyncGenerator<Sample[]> {
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

/** What a network makes of a set of images. */
export interface Measurement {
  /** Counts of (label, prediction) at the labels' own resolution, over all images; zeros without labels. */
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
 * @param signal Stops before the next image.
 * @throws {DataError} If a file cannot be read.
 */
export async function measure(
  network: DeepLab,
  loader: Loader,
  longSide: number,
  signal?: AbortSignal,
): Promise<Measurement> {
  const { gpu, classes, training } = network;
  const confusionMatrix = new ConfusionMatrix(classes);
  const information = new Information(classes);
  let isLabelled = true;
  let counts = gpu.zeros([classes, classes], "confusion", "u32");
  let counted = 0;
  network.eval();
  try {
    for await (const samples of sameSizeBatches(loader)) {
      signal?.throwIfAborted();
      const [{ image }] = samples as [Sample];
      const pixels = samples.length * image.width * image.height;
      if (counted + pixels > MAX_COUNT) {
        confusionMatrix.add(await counts.read());
        counts.release();
        [counts, counted] = [gpu.zeros([classes, classes], "confusion", "u32"), 0];
      }
      counted += pixels;
      const { images, labels } = uploadSamples(gpu, samples, longSide);
      isLabelled &&= labels !== null;
      const { predicted, probabilities } = infer(network, images, (logits) => ({
        predicted: labels && labelsOf(logits, image),
        probabilities: softmaxForward(logits),
      }));
      if (labels && predicted) confusion(predicted, labels, counts);
      information.add(await probabilities.read(), probabilities.shape);
      for (const array of [images, labels, predicted, probabilities]) array?.release();
    }
    confusionMatrix.add(await counts.read());
    return { confusion: confusionMatrix, information, isLabelled };
  } finally {
    network.train(training);
    counts.release();
  }
}

/**
 * Scores a network on labelled images like {@link measure}.
 *
 * @throws {DataError} If a file cannot be read.
 * @throws {TypeError} If an image has no label.
 */
export async function evaluate(
  network: DeepLab,
  loader: Loader,
  longSide: number,
  signal?: AbortSignal,
): Promise<Scores> {
  loader.seek(0);
  const [first] = await loader.next(1); // a data set has labels of all images or of none
  if (first && !first.label) {
    throw new TypeError(`Cannot evaluate on "${first.name}" as it has no label`);
  }
  return (await measure(network, loader, longSide, signal)).confusion.scores();
}
