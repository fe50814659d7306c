// Label ids on their way to the GPU. Kernels take a label that is no class for one that does not count,
// and no error says so: an id out of range is found here, where it is uploaded, or nowhere.

import { IGNORE } from "./ignore_label.ts";
import type { Gpu, GpuArray, Shape } from "./runtime/mod.ts";

/** Which labels there are. */
export interface LabelRange {
  /** K: classes are numbered from 0 to K − 1. */
  readonly classes: number;
  /** The label of pixels that do not count (default {@link IGNORE}). */
  readonly ignoreLabel?: number;
}

/**
 * Uploads labels for losses and scores, which take no notice of pixels whose label is no class.
 *
 * @param labels Class ids, [N, H, W] row by row.
 * @param label Names the array in errors.
 * @throws {RangeError} If a label is neither a class nor `ignoreLabel`.
 * @throws {TypeError} If the length is not that of the shape.
 */
export function uploadLabels(
  gpu: Gpu,
  labels: Uint8Array | Uint32Array,
  shape: Shape,
  range: LabelRange,
  label = "labels",
): GpuArray<"u32"> {
  checkLabels(labels, range, label);
  return gpu.upload(
    labels instanceof Uint32Array ? labels : Uint32Array.from(labels),
    shape,
    label,
  );
}

/** Refuses labels that are neither a class nor `ignoreLabel`. @throws {RangeError} If there is one. */
export function checkLabels(
  labels: Uint8Array | Uint32Array,
  { classes, ignoreLabel = IGNORE }: LabelRange,
  name: string,
): void {
  for (let at = 0; at < labels.length; at++) {
    const id = labels[at] as number;
    if (id < classes || id === ignoreLabel) continue;
    throw new RangeError(
      `Cannot upload "${name}" as pixel ${at} has label ${id}: expected a class below ${classes}, or ` +
        `${ignoreLabel} where no class counts`,
    );
  }
}
