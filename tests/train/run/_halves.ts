// Two domains of halves, of any shades.

import { join } from "node:path";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import { write } from "../_png.ts";

/**
 * Writes a data set of images with a dark left and a bright right half, which a few steps learn to tell
 * apart.
 *
 * @param counts Images of each split.
 * @param shades Bytes of the two halves.
 */
function writeHalves(
  root: string,
  counts: Readonly<Record<string, number>>,
  [dark, bright]: readonly [number, number] = [20, 200],
): void {
  const size = { width: 32, height: 16 };
  for (const [split, count] of Object.entries(counts)) {
    for (let index = 0; index < count; index++) {
      const edge = 8 + index % 5 * 4;
      const isRight = (pixel: number) => pixel % size.width >= edge;
      const data = Uint8Array.from(
        { length: 3 * size.width * size.height },
        (_, i) => (isRight(Math.floor(i / 3)) ? bright : dark) + i * 7 % 30,
      );
      const label = Uint8Array.from(
        { length: size.width * size.height },
        (_, i) => Number(isRight(i)),
      );
      const name = `${split}${index}.png`;
      write(join(root, "images", split, name), encodeImage({ data, ...size }));
      write(join(root, "labels", split, name), encodeLabel({ data: label, ...size }));
    }
  }
  Deno.writeTextFileSync(
    join(root, "classes.json"),
    JSON.stringify({
      classes: [
        { name: "dark", colour: [0, 0, 0], ids: [0] },
        { name: "bright", colour: [255, 255, 0], ids: [1] },
      ],
      ignore: { ids: [2] },
    }),
  );
}

/**
 * Writes both domains into a folder.
 *
 * @param counts Images of each split of the source, and of the target.
 * @param shades Of the target's halves, where they are others than the source's.
 * @returns The keys of a configuration's `data` that say where they are.
 */
export function halvesIn(
  folder: string,
  counts: Readonly<Record<"source" | "target", Readonly<Record<string, number>>>>,
  shades?: readonly [number, number],
) {
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  writeHalves(source, counts.source);
  writeHalves(target, counts.target, shades);
  return {
    sourceDirectory: source,
    sourceLayout: "folder",
    targetDirectory: target,
    targetLayout: "folder",
  };
}
