// How good the labels are that a stage makes: against the target's own, which training never reads.

import { confusion } from "../../kernels/confusion.ts";
import { resizeLabels } from "../../kernels/resize.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { spread } from "../base/spread.ts";
import type { Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Sample } from "../data/samples.ts";
import { predictLabels } from "./evaluate.ts";
import { forEachImageBatch } from "./image_batches.ts";
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
  return { ...dataset, items: spread(dataset.items, count) };
}

/**
 * Scores the labels that a stage makes of target images, and the network's predictions. The
 * network's mode is restored.
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
  const { gpu, classes } = network;
  const counts = {
    labels: gpu.zeros([classes, classes], "confusion of labels", "u32"),
    prediction: gpu.zeros([classes, classes], "confusion of predictions", "u32"),
  };
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  try {
    await forEachImageBatch(network, loader, { longSide }, ({ samples, size, images, labels }) => {
      if (!labels) throw new TypeError("Cannot score labels on images without labels of their own");
      using made = makeLabels(samples, images);
      using whole = resizeLabels(made, size);
      using predicted = predictLabels(network, images, size);
      confusion(whole, labels, counts.labels);
      confusion(predicted, labels, counts.prediction);
      gpu.flush();
    });
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
