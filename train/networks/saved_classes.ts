// What a checkpoint says of the classes that its network predicts.

import { IGNORE } from "../../kernels/ignore_label.ts";
import { DataError } from "../base/data_error.ts";
import { CLASSES } from "../data/classes.ts";
import { cityscapesClasses, type ClassSet } from "../data/class_set.ts";

/**
 * The classes in a checkpoint: names, and what else those that are no classes of Cityscapes need.
 */
export type SavedClasses = Pick<ClassSet, "palette" | "labelIds" | "unlabelled">;

/** What a checkpoint says of classes beside their names. */
export function savedClasses({ palette, labelIds, unlabelled }: ClassSet): SavedClasses {
  return { palette, labelIds, unlabelled };
}

/**
 * The classes of a network, from the state in its checkpoint.
 *
 * @throws {DataError} If it names none, or such that are unknown.
 */
export function readClasses(path: string, state: unknown): ClassSet {
  const { classes, ownClasses } = (state ?? {}) as Record<string, unknown>;
  const names: string[] = Array.isArray(classes) ? classes : [];
  const own = (ownClasses ?? null) as SavedClasses | null;
  const strange = own ? undefined : names.find((name) => !CLASSES.some((c) => c.name === name));
  if (names.length === 0 || strange !== undefined) {
    const found = strange === undefined ? "no classes" : `the class ${JSON.stringify(strange)}`;
    throw new DataError(
      `Cannot use checkpoint ${path} as it names ${found}: expected some of the ` +
        `${CLASSES.length} classes of Cityscapes; give a checkpoint that a training has written`,
    );
  }
  if (!own) return cityscapesClasses(names);
  const trainIds: number[] = [];
  trainIds[own.unlabelled] = IGNORE;
  own.labelIds.forEach((id, index) => trainIds[id] = index);
  return { names, ...own, trainIds, isCityscapes: false };
}
