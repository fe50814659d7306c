// Watches the labels of a stage while it runs: scores for the metrics, pictures of the same images.

import type { DeepLab } from "../../nn/deeplab.ts";
import type { RunConfig } from "../config/settings.ts";
import type { ClassSet } from "./run_data.ts";
import type { Dataset } from "../data/dataset.ts";
import { type LabelMaker, scoreLabels, spreadOver } from "../evaluation/label_scores.ts";
import type { Inspection } from "./loop.ts";
import { byName, type Scores } from "../evaluation/metrics.ts";
import { writeTargetSamples } from "../evaluation/target_samples.ts";

/** What is watched. */
export interface LabelWatchOptions {
  readonly config: RunConfig["labelWatch"];
  readonly network: DeepLab;
  /** The stage's labels. */
  readonly makeLabels: LabelMaker;
  /** Target images with labels. */
  readonly dataset: Dataset;
  readonly classes: ClassSet;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  /** The path of the picture of a step. */
  readonly picturePath: (name: string) => string | null;
  /** Hears the scores. */
  readonly message: (text: string) => void;
}

/** An inspection of a stage's labels for the loop to make every few steps. */
export function watchLabels(options: LabelWatchOptions): Inspection {
  const { config, network, makeLabels, dataset, classes, longSide } = options;
  const measured = spreadOver(dataset, config.images);
  const pictured = spreadOver(dataset, config.pictures);
  const named = ({ classIoU, ...scores }: Scores) => ({
    ...scores,
    classIoU: byName(classes.names, classIoU),
  });
  return {
    every: config.every,
    async inspect(updates) {
      const { labels, coverage, prediction } = await scoreLabels(
        network,
        makeLabels,
        measured,
        longSide,
      );
      if (config.pictures > 0) {
        const path = options.picturePath(`step_${String(updates).padStart(5, "0")}`);
        await writeTargetSamples(path, {
          network,
          dataset: pictured,
          longSide,
          palette: classes.palette,
          rows: config.pictures,
          makeLabels,
        });
      }
      options.message(
        `labels after ${updates} steps: ${coverage.toFixed(1)} % of the pixels, mIoU ` +
          `${labels.mIoU.toFixed(1)} %, pixel accuracy ${labels.pixelAccuracy.toFixed(1)} %`,
      );
      return { labels: { ...named(labels), coverage }, prediction: named(prediction) };
    },
  };
}
