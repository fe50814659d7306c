// Labelled images that are never trained on, so that they tell whether the others are learnt.

import type { OpenedDataset } from "./dataset.ts";
import { hasLabels, splitsOf } from "./place.ts";

/** A data set in two parts. */
export interface HeldOut {
  /** The images to train on. */
  readonly trained: OpenedDataset;
  /** The others; null where there are too few to hold one out. */
  readonly heldOut: OpenedDataset | null;
}

/**
 * Holds out a share of the images, evenly spread over the order of their names: of 0.05 every
 * twentieth. What is held out depends on the names alone.
 */
export function holdOut(dataset: OpenedDataset, share: number): HeldOut {
  // A share such as 0.05 is no binary fraction: what falls short of a whole by its error is one.
  const before = (index: number) => Math.floor(index * share + 1e-9);
  const isHeldOut = (index: number) => before(index + 1) > before(index);
  const heldOut = dataset.items.filter((_, index) => isHeldOut(index));
  if (heldOut.length === 0) return { trained: dataset, heldOut: null };
  const trained = dataset.items.filter((_, index) => !isHeldOut(index));
  return { trained: { ...dataset, items: trained }, heldOut: { ...dataset, items: heldOut } };
}

/** Whether a data set has a split `val` of its own, beside `train`, with labels. */
export function hasLabelledVal({ root, layout }: Pick<OpenedDataset, "root" | "layout">): boolean {
  const splits = splitsOf(root, layout);
  return splits.includes("train") && splits.includes("val") &&
    hasLabels({ root, layout, split: "val" });
}
