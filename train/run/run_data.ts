// The data of a run: which classes, which folders, the built-in benchmark where there are none.

import { join } from "node:path";
import {
  type ClassSet,
  classSet,
  runClasses,
  selectClasses,
  STREETS_CLASSES,
} from "../data/class_set.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError } from "../base/data_error.ts";
import { spread } from "../base/spread.ts";
import { checkThreadsCanStart } from "../base/thread.ts";
import { missingClassFile } from "../data/class_file.ts";
import {
  type Dataset,
  type DatasetOptions,
  openDataset,
  type OpenedDataset,
} from "../data/dataset.ts";
import { hasLabelledVal, holdOut } from "../data/held_out.ts";
import { layoutOf } from "../data/layouts.ts";
import { classesOf, hasLabels } from "../data/place.ts";
import { writeStreets } from "../streets/mod.ts";

export { type ClassSet, classSet };

/** The opened data sets of a run. */
export interface RunData {
  /** The classes that the network predicts, in the numbering of the target's labels. */
  readonly classes: ClassSet;
  /** Labelled images of the source domain to train on. */
  readonly source: OpenedDataset;
  /** Labelled images of the source domain that are measured and never trained on; null for none. */
  readonly sourceValidation: OpenedDataset | null;
  /** Images of the target domain to adapt to; labels are not read. */
  readonly target: OpenedDataset;
  /** Images of the target domain to measure on; with labels where it has a folder for them. */
  readonly validation: OpenedDataset;
  /**
   * The images of `target` with their labels, for the oracle and for pictures only.
   *
   * @throws {DataError} If there are no labels.
   */
  readonly openLabelledTarget: () => OpenedDataset;
}

/**
 * Opens the data of a configuration; writes the built-in benchmark first where no folders are
 * given.
 *
 * @param signal Stops while the benchmark is written.
 * @throws {DataError} If a data set cannot be used.
 * @throws The signal's reason, if it is aborted.
 */
export async function openRunData(
  config: RunConfig["data"],
  message: (text: string) => void,
  signal?: AbortSignal,
): Promise<RunData> {
  checkThreadsCanStart(); // before there is a run folder
  const { sourceDirectory, targetDirectory, streets } = config;
  const builtIn = sourceDirectory === null || targetDirectory === null;
  if (builtIn) {
    const { directory, seed, width, height, ...counts } = streets;
    const images = Object.values(counts).reduce((sum, count) => sum + count, 0);
    message(`streets: ${directory}, ${images} images of ${width}×${height}`);
    await writeStreets(directory, { seed, width, height, counts, signal });
  }
  const source = {
    root: sourceDirectory ?? join(streets.directory, "source"),
    layout: layoutOf(config.sourceLayout),
  };
  const target = {
    root: targetDirectory ?? join(streets.directory, "target"),
    layout: layoutOf(config.targetLayout),
  };
  const [own, classes] = classesOfRun(config);
  const { trainIds } = classes;
  const val = { ...target, split: config.evaluateOn };
  const isLabelled = hasLabels(val);
  if (!isLabelled) message(`${target.root} has no labels to measure on: mIoU stays unknown`);
  return {
    classes,
    ...openSource({ ...source, split: "train", trainIds: own.trainIds }, config.heldOut),
    target: openDataset({ ...target, split: "train", trainIds: null }),
    validation: openDataset({ ...val, trainIds: isLabelled ? trainIds : null }),
    openLabelledTarget: () => openDataset({ ...target, split: "train", trainIds }),
  };
}

/** The target images with labels where there are any: pictures show them, training never reads them. */
export function targetForPeople(data: RunData): Dataset {
  try {
    return data.openLabelledTarget();
  } catch (error) {
    if (error instanceof DataError) return data.target;
    throw error;
  }
}

/** The source's images to train on, and those of its split `val`, or of a share of all, to measure. */
function openSource(
  options: DatasetOptions,
  { share, images }: RunConfig["data"]["heldOut"],
): Pick<RunData, "source" | "sourceValidation"> {
  const all = openDataset(options);
  if (share === 0) return { source: all, sourceValidation: null };
  const { trained, heldOut } = hasLabelledVal(options)
    ? { trained: all, heldOut: openDataset({ ...options, split: "val" }) }
    : holdOut(all, share);
  const sourceValidation = heldOut && { ...heldOut, items: spread(heldOut.items, images) };
  return { source: trained, sourceValidation };
}

/**
 * The classes of a run in the numbering of the source's labels, and of the target's. Reads class
 * files, where data sets have some, and nothing else.
 *
 * @throws {DataError} If a class file is missing or the data sets do not agree.
 */
export function classesOfRun(config: RunConfig["data"]): [source: ClassSet, target: ClassSet] {
  const { sourceDirectory, targetDirectory, sourceLayout, targetLayout } = config;
  if (sourceDirectory === null || targetDirectory === null) {
    return [STREETS_CLASSES, STREETS_CLASSES];
  }
  const ofSource = classesOf(sourceDirectory, layoutOf(sourceLayout));
  if (!ofSource) throw missingClassFile(sourceDirectory);
  // Images alone take any classes.
  const ofTarget = classesOf(targetDirectory, layoutOf(targetLayout)) ?? ofSource;
  const names = runClasses(ofSource, ofTarget, config.classes);
  return [selectClasses(ofSource, names), selectClasses(ofTarget, names)];
}
