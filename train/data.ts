// The data of a run: which classes, which folders, the built-in benchmark where there are none.

import { join } from "node:path";
import { CLASSES, type Colour, IGNORE, STREETS_TRAIN_IDS, TRAIN_IDS } from "./classes.ts";
import type { DataConfig } from "./config.ts";
import { type Dataset, openDataset } from "./dataset.ts";
import { writeStreets } from "./streets/mod.ts";

/** The classes that a network predicts, in the order of its outputs. */
export interface ClassSet {
  readonly names: readonly string[];
  readonly palette: readonly Colour[];
  /** Output index by label id, 255 for ids that are not predicted. */
  readonly trainIds: readonly number[];
}

/** The opened data sets of a run. */
export interface RunData {
  readonly classes: ClassSet;
  /** Labelled images of the source domain. */
  readonly source: Dataset;
  /** Images of the target domain to adapt to; labels are not read. */
  readonly target: Dataset;
  /** Labelled images of the target domain to measure on. */
  readonly validation: Dataset;
  /**
   * The images of `target` with their labels, for the oracle and for pictures only.
   *
   * @throws {DataError} If there are no labels.
   */
  readonly openLabelledTarget: () => Dataset;
}

/** A subset of the 19 classes by their train ids, numbered afresh from 0. */
export function classSet(trainIds: readonly number[] = CLASSES.map((_, index) => index)): ClassSet {
  const classes = trainIds.map((id) => CLASSES[id] as (typeof CLASSES)[number]);
  return {
    names: classes.map(({ name }) => name),
    palette: classes.map(({ colour }) => colour),
    trainIds: TRAIN_IDS.map((id) => {
      const index = trainIds.indexOf(id);
      return index < 0 ? IGNORE : index;
    }),
  };
}

/**
 * Opens the data of a configuration; writes the built-in benchmark first where no folders are given.
 *
 * @throws {DataError} If a data set cannot be used.
 */
export async function openRunData(
  config: DataConfig,
  message: (text: string) => void,
): Promise<RunData> {
  const { sourceDirectory, targetDirectory, streets } = config;
  const builtIn = sourceDirectory === null || targetDirectory === null;
  if (builtIn) {
    const { directory, seed, width, height, sourceTrain, targetTrain, targetVal } = streets;
    message(
      `streets: ${directory}, ${
        sourceTrain + targetTrain + targetVal
      } images of ${width}×${height}`,
    );
    await writeStreets(directory, {
      seed,
      width,
      height,
      counts: { sourceTrain, targetTrain, targetVal },
    });
  }
  const classes = builtIn ? classSet(STREETS_TRAIN_IDS) : classSet();
  const source = {
    root: sourceDirectory ?? join(streets.directory, "source"),
    layout: config.sourceLayout,
  };
  const target = {
    root: targetDirectory ?? join(streets.directory, "target"),
    layout: config.targetLayout,
  };
  const { trainIds } = classes;
  return {
    classes,
    source: openDataset({ ...source, split: "train", trainIds }),
    target: openDataset({ ...target, split: "train", trainIds: null }),
    validation: openDataset({ ...target, split: "val", trainIds }),
    openLabelledTarget: () => openDataset({ ...target, split: "train", trainIds }),
  };
}
