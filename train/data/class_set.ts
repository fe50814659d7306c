/**
 * The classes of a data set, and those of a run, which two data sets must agree on.
 *
 * @module
 */
import { DataError } from "../base/data_error.ts";
import { nearest } from "../base/nearest.ts";
import type { Colour } from "../images/rgb.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import {
  CLASSES,
  PUBLISHED_SUBSETS,
  STREETS_COLOURS,
  STREETS_TRAIN_IDS,
  TRAIN_IDS,
} from "./classes.ts";

/** Classes in an order, such as that of a network's outputs, and their numbers in label files. */
export interface ClassSet {
  /** Their names. */
  readonly names: readonly string[];
  /** Their colours in pictures. */
  readonly palette: readonly Colour[];
  /**
   * Output index by label id, `IGNORE` for ids that are not predicted; holes where there is no such id.
   */
  readonly trainIds: readonly number[];
  /** The label id that each class is written as. */
  readonly labelIds: readonly number[];
  /** The label id that stands for no class. */
  readonly unlabelled: number;
  /** Whether these are classes of Cityscapes, whose subsets go together. */
  readonly isCityscapes: boolean;
}

/**
 * A subset of the 19 classes of Cityscapes by their train ids, numbered afresh from 0. The eight of
 * streets have colours that can be told apart.
 */
export function classSet(trainIds: readonly number[] = CLASSES.map((_, index) => index)): ClassSet {
  const classes = trainIds.map((id) => CLASSES[id]);
  const isStreets = trainIds.join() === STREETS_TRAIN_IDS.join();
  const colours = isStreets ? STREETS_COLOURS : {};
  return {
    names: classes.map(({ name }) => name),
    palette: classes.map(({ name, colour }) => colours[name] ?? colour),
    trainIds: TRAIN_IDS.map((id) => {
      const index = trainIds.indexOf(id);
      return index < 0 ? IGNORE : index;
    }),
    labelIds: classes.map(({ labelId }) => labelId),
    unlabelled: 0,
    isCityscapes: true,
  };
}

/** Classes of Cityscapes by their names. */
export function cityscapesClasses(names: readonly string[]): ClassSet {
  return classSet(names.map((name) => CLASSES.findIndex((known) => known.name === name)));
}

/** The eight classes of the built-in benchmark. */
export const STREETS_CLASSES: ClassSet = classSet(STREETS_TRAIN_IDS);

/** Some classes of a set, numbered afresh in the order of `names`; every name must be in it. */
export function selectClasses(set: ClassSet, names: readonly string[]): ClassSet {
  const places = names.map((name) => set.names.indexOf(name));
  return {
    ...set,
    names,
    palette: places.map((place) => set.palette[place]),
    // `map` keeps holes.
    trainIds: set.trainIds.map((id) => {
      const index = places.indexOf(id);
      return index < 0 ? IGNORE : index;
    }),
    labelIds: places.map((place) => set.labelIds[place]),
  };
}

/**
 * The names of a run's classes: those wanted, or those of the source. The target must have the
 * same, except that of two data sets with classes of Cityscapes those count that both have.
 *
 * @param wanted Names, or one of `19`, `16` and `13`; null for all.
 * @throws {DataError} If the data sets have different classes, or not those wanted.
 */
export function runClasses(
  source: ClassSet,
  target: ClassSet,
  wanted: readonly string[] | null,
): readonly string[] {
  const shared = source.names.filter((name) => target.names.includes(name));
  if (wanted) {
    const [only = ""] = wanted;
    const names = wanted.length === 1 && Object.hasOwn(PUBLISHED_SUBSETS, only)
      ? PUBLISHED_SUBSETS[only as keyof typeof PUBLISHED_SUBSETS]
      : wanted;
    const missing = names.find((name) => !shared.includes(name));
    if (missing === undefined) return names;
    const meant = nearest(missing, shared);
    throw new DataError(
      `Cannot train on the classes ${wanted.join(", ")} as "${missing}" is not in both data sets` +
        `${meant === null ? "" : `, did you mean ${meant}?`}: ${bothLists(source, target)}; ` +
        `choose classes that both have`,
      { options: ["data.classes"] },
    );
  }
  const same = shared.length === source.names.length && shared.length === target.names.length;
  if (same || (source.isCityscapes && target.isCityscapes)) return shared;
  throw new DataError(
    `Cannot train as source and target have different classes: ${bothLists(source, target)}; ` +
      `give both the same names in classes.json, or name those that both have in data.classes`,
    { options: ["data.classes"] },
  );
}

function bothLists(source: ClassSet, target: ClassSet): string {
  return `source has ${source.names.join(", ")}, target has ${target.names.join(", ")}`;
}
