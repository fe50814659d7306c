// Where a crop must lie to show a class.

import { IGNORE } from "../../kernels/ignore_label.ts";
import type { Random } from "../../nn/random.ts";
import type { Place } from "./views.ts";

/**
 * A pixel of a class: each class of a label as likely as another, however few pixels it has, and each of its
 * pixels as likely as another (the oversampling of foreground of nnU-Net, Isensee et al., 2021).
 *
 * @param label Train ids, row by row.
 * @returns null where nothing is labelled.
 */
export function classPlace(
  random: Random,
  { data, width }: { readonly data: Uint8Array; readonly width: number },
): Place | null {
  const counts = new Uint32Array(256);
  for (let i = 0; i < data.length; i++) counts[data[i]]++;
  const classes = Array.from(counts.keys()).filter((id) => id !== IGNORE && counts[id] > 0);
  if (classes.length === 0) return null;
  const id = classes[random.below(classes.length)];
  let left = random.below(counts[id]);
  for (let at = data.indexOf(id);; at = data.indexOf(id, at + 1)) {
    if (left-- === 0) return { x: at % width, y: Math.floor(at / width) };
  }
}
