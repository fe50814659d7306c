// What a trained network makes of labelled images: predictions image by image, and features.

import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { Random } from "../../nn/random.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import type { Dataset } from "../data/dataset.ts";
import { predictLabels } from "../evaluation/evaluate.ts";
import { uploadSamples } from "../evaluation/image_batches.ts";
import { Loader } from "../data/loader.ts";
import type { Sample } from "../data/samples.ts";
import { ConfusionMatrix } from "../evaluation/metrics.ts";
import type { LabelMap } from "../images/pictures.ts";
import type { TrainedNetwork } from "../networks/trained_network.ts";

/** An image and what a network says. */
export interface ScoredImage {
  readonly sample: Sample;
  readonly prediction: LabelMap;
  /** Mean IoU in percent over the classes of this image; NaN without a label. */
  readonly mIoU: number;
}

/** A data set through a network. */
export interface DatasetScores {
  readonly matrix: ConfusionMatrix;
  /** The images that were scored lowest, the lowest first. */
  readonly worst: readonly ScoredImage[];
}

/**
 * Predicts every labelled image of a data set.
 *
 * @param keep How many of the lowest scored images to keep.
 * @throws {DataError} If a file cannot be read.
 */
export async function scoreImages(
  trained: TrainedNetwork,
  dataset: Dataset,
  keep: number,
): Promise<DatasetScores> {
  const matrix = new ConfusionMatrix(trained.classes.names.length);
  let worst: ScoredImage[] = [];
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  for await (const sample of samplesOf(loader)) {
    const { counts, ...scored } = await scoreImage(trained, sample);
    if (counts) matrix.add(counts);
    worst = [...worst, scored].sort((a, b) => a.mIoU - b.mIoU).slice(0, keep);
  }
  return { matrix, worst };
}

/** Predicts one image, and compares the prediction with its label, where it has one. */
export async function scoreImage(
  { network, classes, config }: TrainedNetwork,
  sample: Sample,
): Promise<ScoredImage & { readonly counts: ConfusionMatrix["counts"] | null }> {
  const { images, labels } = uploadSamples(network.gpu, [sample], config.data.longSide);
  const predicted = predictLabels(network, images, sample.image);
  const [data, label] = await Promise.all([predicted.read(), labels?.read() ?? null]);
  for (const array of [images, labels, predicted]) array?.release();
  const { width, height } = sample.image;
  const prediction = { data, width, height };
  if (!label) return { sample, prediction, mIoU: NaN, counts: null };
  const matrix = new ConfusionMatrix(classes.names.length);
  matrix.addPixels(label, data);
  return { sample, prediction, mIoU: matrix.scores().mIoU, counts: matrix.counts };
}

/** Features of single pixels with their classes. */
export interface FeatureSample {
  /** Row by row, `channels` numbers per pixel. */
  readonly rows: readonly Float32Array[];
  /** The label of each row. */
  readonly labels: readonly number[];
  /** The prediction of each row. */
  readonly predictions: readonly number[];
}

/**
 * Draws pixels of target images evenly over classes, at the resolution of the features.
 *
 * @param perClass Pixels of each class at most.
 * @throws {DataError} If a file cannot be read.
 */
export async function sampleFeatures(
  { network, classes, config }: TrainedNetwork,
  dataset: Dataset,
  { perClass, seed }: { perClass: number; seed: number },
): Promise<FeatureSample> {
  const kept: { label: number; prediction: number; row: Float32Array }[][] = classes.names.map(
    () => [],
  );
  const seen = new Uint32Array(classes.names.length);
  const random = new Random(seed, "report/features");
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  for await (const sample of samplesOf(loader)) {
    const { images, labels } = uploadSamples(network.gpu, [sample], config.data.longSide);
    const output = noGrad(() =>
      scope(() => {
        const { features, logits } = network.forward(input(images));
        return { features: features.array.retain(), logits: logits.array.retain() };
      })
    );
    const [, channels = 0, height = 0, width = 0] = output.features.shape;
    const [features, logits, label] = await Promise.all([
      output.features.read(),
      output.logits.read(),
      (labels as GpuArray<"u32">).read(),
    ]);
    for (const array of [images, labels, output.features, output.logits]) array?.release();
    const plane = height * width;
    for (let pixel = 0; pixel < plane; pixel++) {
      const id = labelAt(label, sample.image, pixel, { height, width });
      if (id >= kept.length) continue;
      // Reservoir sampling: every pixel of a class has the same chance, whatever their number.
      const own = kept[id];
      const place = own.length < perClass ? own.length : random.below(seen[id] + 1);
      seen[id]++;
      if (place >= perClass) continue;
      own[place] = {
        label: id,
        prediction: largest(logits, pixel, plane, kept.length),
        row: Float32Array.from({ length: channels }, (_, c) => features[c * plane + pixel]),
      };
    }
  }
  const all = kept.flat();
  return {
    rows: all.map(({ row }) => row),
    labels: all.map(({ label }) => label),
    predictions: all.map(({ prediction }) => prediction),
  };
}

/** Prototypes as the mean feature of each predicted class; null for a class that was never predicted. */
export function meanFeatures(
  { rows, predictions }: FeatureSample,
  classes: number,
): (Float32Array | null)[] {
  return Array.from({ length: classes }, (_, k) => {
    const own = rows.filter((_, at) => predictions[at] === k);
    if (own.length === 0) return null;
    return own[0].map((_, c) => own.reduce((sum, row) => sum + row[c], 0) / own.length);
  });
}

/** Euclidean distances between all pairs, row by row. */
export function pairwiseDistances(rows: readonly Float32Array[]): number[] {
  return rows.flatMap((a) =>
    rows.map((b) => Math.sqrt(a.reduce((sum, value, c) => sum + (value - b[c]) ** 2, 0)))
  );
}

async function* samplesOf(loader: Loader): AsyncGenerator<Sample> {
  for (let [sample] = await loader.next(1); sample; [sample] = await loader.next(1)) yield sample;
}

/** The label at the centre of a pixel of a smaller map. */
function labelAt(
  label: ArrayLike<number>,
  image: { width: number; height: number },
  pixel: number,
  { height, width }: { width: number; height: number },
): number {
  const y = Math.floor((Math.floor(pixel / width) + 0.5) * image.height / height);
  const x = Math.floor((pixel % width + 0.5) * image.width / width);
  return label[y * image.width + x];
}

function largest(logits: Float32Array, pixel: number, plane: number, classes: number): number {
  let best = 0;
  for (let k = 1; k < classes; k++) {
    if (logits[k * plane + pixel] > logits[best * plane + pixel]) best = k;
  }
  return best;
}
