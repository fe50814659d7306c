// A street as what a stage learns from, without files.

import { STREETS_CLASSES } from "../data/class_set.ts";
import type { DecodedItem } from "../data/samples.ts";
import { renderStreet, type StreetOptions } from "./render.ts";

/**
 * Draws a street and numbers its label as a network's outputs, in the order of {@link STREETS_CLASSES}.
 *
 * @throws {RangeError} See {@link renderStreet}.
 */
export function streetItem(options: StreetOptions): DecodedItem {
  const { width, height } = options;
  const { image, label } = renderStreet(options);
  return {
    image: { data: image, width, height },
    label: { data: label.map((id) => STREETS_CLASSES.trainIds[id]), width, height },
  };
}
