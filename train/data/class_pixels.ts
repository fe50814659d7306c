// How many pixels of every class a label has.

import type { DecodedLabel } from "./samples.ts";

/** What a label holds. */
export interface ClassCounts {
  /** Pixels of every class, in the order of the train ids. */
  readonly pixels: readonly number[];
  /** Pixels per row of the label, and so of its image. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/** Counts the pixels of a label; train ids that are not below `classes` count for none. */
export function classCounts({ data, width, height }: DecodedLabel, classes: number): ClassCounts {
  const pixels = new Array<number>(classes).fill(0);
  for (const trainId of data) if (trainId < classes) pixels[trainId]++;
  return { pixels, width, height };
}
