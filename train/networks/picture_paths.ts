// Where the pictures of predictions go: each to a path of its own, and none over an image.

import { dirname } from "node:path";
import { DataError } from "../base/data_error.ts";
import { realPath } from "../base/real_path.ts";
import type { DatasetItem } from "../data/dataset.ts";
import { picturePath } from "../images/pictures.ts";

/** Some file systems know neither upper and lower case nor two spellings of an accent. */
function spelled(path: string): string {
  return path.normalize("NFC").toLowerCase();
}

/**
 * Refuses images whose pictures would be written to one path, on whatever file system, and pictures
 * that would take the place of an image.
 *
 * @param output The folder of the folders `label`, `colour` and `overlay`.
 * @throws {DataError} If there is such a picture.
 */
export function checkPictures(items: readonly DatasetItem[], output: string): void {
  const byPicture = new Map<string, DatasetItem>();
  for (const item of items) {
    const picture = spelled(`${item.name}.png`);
    const other = byPicture.get(picture);
    if (other) {
      throw failure(
        item,
        `its pictures would be those of ${other.image}: expected names that differ in more than ending ` +
          `and case; rename one of them`,
      );
    }
    byPicture.set(picture, item);
  }
  const images = new Set(items.map(({ image }) => realPath(image)));
  for (const item of items) {
    for (let folder = dirname(item.name); folder !== "."; folder = dirname(folder)) {
      const other = byPicture.get(spelled(folder));
      if (!other) continue;
      throw failure(
        item,
        `its pictures would lie in a folder ${folder}, and those of ${other.image} be called so: ` +
          `expected no folder with the name of a picture; rename one of them`,
      );
    }
    for (const kind of ["label", "colour", "overlay"]) {
      const picture = picturePath(output, kind, item.name);
      if (!images.has(realPath(picture))) continue;
      throw failure(
        item,
        `its picture ${picture} would take the place of an image: expected an output folder without ` +
          `images to predict; choose another one`,
      );
    }
  }
}

function failure({ image }: DatasetItem, reason: string): DataError {
  return new DataError(`Cannot predict ${image} as ${reason}`);
}
