// How good the labels are that a stage makes: against the target's own, which training never reads.

import { confusion } from "../../kernels/confusion.ts";
import { resizeLabels } from "../../kernels/resize.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Dataset } from "../data/dataset.ts";
import { predictLabels, sameSizeBatches, uploadSamples } from "./evaluate.ts";
import { Loader, type Sample } from "../data/loader.ts";
import { ConfusionMatrix, type Scores } from "./metrics.ts";

/** Labels of images of one size, as a stage now makes them, [N, h, w]. */
export type LabelMaker = (samples: readonly Sample[], images: GpuArray) => GpuArray<"u32">;

/** The scores of target labels. All numbers are percentages. */
export interface LabelScores {
  /** The stage's labels, over the pixels that it gives one. */
  readonly labels: Scores;
  /** Share of pixels that it gives a label. */
  readonly coverage: number;
  /** What the network itself predicts, over all pixels. */
  readonly prediction: Scores;
}

/** Images spread evenly over a data set; all of it where it has no more. */
export function spreadOver(dataset: Dataset, count: number): Dataset {
  const { items } = dataset;
  if (count >= items.length) return dataset;
  const chosen = Array.from(
    { length: count },
    (_, i) => Math.floor(i * items.length / count),
  );
  return { ...dataset, items: chosen.map((index) => items[index]) };
}

/**
 * Scores the labels that a stage makes of target images, and the network's predictions. The network's
 * mode is restored.
 *
 * @param dataset Target images with labels.
 * @param longSide What an image's long side is resized to.
 */
export async function scoreLabels(
  network: DeepLab,
  makeLabels: LabelMaker,
  dataset: Dataset,
  longSide: number,
): Promise<LabelScores> {
  const { gpu, classes, training } = network;
  const counts = {
    labels: gpu.zeros([classes, classes], "confusion of labels", "u32"),
    prediction: gpu.zeros([classes, classes], "confusion of predictions", "u32"),
  };
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  network.eval();
  try {
    for await (const samples of sameSizeBatches(loader)) {
      const { images, labels } = uploadSamples(gpu, samples, longSide);
      if (!labels) throw new TypeError("Cannot score labels on images without labels of their own");
      const { image } = samples[0] as Sample;
      using made = makeLabels(samples, images);
      using whole = resizeLabels(made, image);
      using predicted = predictLabels(network, images, image);
      confusion(whole, labels, counts.labels);
      confusion(predicted, labels, counts.prediction);
      for (const array of [images, labels]) array.release();
      gpu.flush();
    }
    const [ofLabels, ofPrediction] = [
      await matrixOf(classes, counts.labels),
      await matrixOf(classes, counts.prediction),
    ];
    return {
      labels: ofLabels.scores(),
      coverage: 100 * pixelsOf(ofLabels) / Math.max(1, pixelsOf(ofPrediction)),
      prediction: ofPrediction.scores(),
    };
  } finally {
    network.train(training);
    for (const array of Object.values(counts)) array.release();
  }
}

async function matrixOf(classes: number, counts: GpuArray<"u32">): Promise<ConfusionMatrix> {
  const matrix = new ConfusionMatrix(classes);
  matrix.add(await counts.read());
  return matrix;
}

function pixelsOf({ counts }: ConfusionMatrix): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
