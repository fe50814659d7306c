// The classes of a network as files of networks keep them.

import { IGNORE } from "../../kernels/ignore_label.ts";
import { DataError } from "../base/data_error.ts";
import { cityscapesClasses, type ClassSet } from "../data/class_set.ts";
import { CLASSES } from "../data/classes.ts";

/**
 * The classes in a checkpoint: names, and what else those that are no classes of Cityscapes need.
 */
export type SavedClasses = Pick<ClassSet, "palette" | "labelIds" | "unlabelled">;

/** What a checkpoint says of classes beside their names. */
export function savedClasses({ palette, labelIds, unlabelled }: ClassSet): SavedClasses {
  return { palette, labelIds, unlabelled };
}

/**
 * The classes that a file names.
 *
 * @param file What a message calls it.
 * @param own What it says of classes that are not of Cityscapes; null for those of Cityscapes.
 * @throws {DataError} If there are none, or one that Cityscapes does not have.
 */
export function classesFrom(file: string, names: string[], own: SavedClasses | null): ClassSet {
  const strange = own ? undefined : names.find((name) => !CLASSES.some((c) => c.name === name));
  if (names.length === 0 || strange !== undefined) {
    const found = strange === undefined ? "no classes" : `the class ${JSON.stringify(strange)}`;
    throw new DataError(
      `Cannot use ${file} as it names ${found}: expected some of the ` +
        `${CLASSES.length} classes of Cityscapes; give a checkpoint that a training has written`,
    );
  }
  if (!own) return cityscapesClasses(names);
  const trainIds: number[] = [];
  trainIds[own.unlabelled] = IGNORE;
  own.labelIds.forEach((id, index) => trainIds[id] = index);
  return { names, ...own, trainIds, isCityscapes: false };
}
