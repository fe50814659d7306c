// Labels that a network made, as files: `label/NAME.png` and `colour/NAME.png` in a folder.

import { encodeImage, encodeLabel } from "../images/image.ts";
import { colourLabel, type LabelMap, writePicture } from "../images/pictures.ts";
import type { ClassSet } from "./class_set.ts";

/**
 * Writes labels as the ids of a data set and as the colours of its classes.
 *
 * @param name Of the image, which may lie in folders.
 * @param map Indices of `classes`; others, such as the ignore label, are unlabelled.
 * @throws {DataError} If a file cannot be written.
 */
export function writeLabelPictures(
  folder: string,
  name: string,
  map: LabelMap,
  { labelIds, unlabelled, palette }: ClassSet,
): void {
  const data = Uint8Array.from(map.data, (index) => labelIds[index] ?? unlabelled);
  writePicture(folder, "label", name, encodeLabel({ ...map, data }));
  writePicture(folder, "colour", name, encodeImage(colourLabel(map, palette)));
}
