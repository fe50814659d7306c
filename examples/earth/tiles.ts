/**
 * Two domains from three pictures of the Earth: by day, with land and water as labels, and by night.
 * They are cut into tiles in the layout `folder`, as `./run inspect` and `./run train` read it:
 *
 *     data/earth/source/   images/train, images/val, labels/train, labels/val, classes.json
 *     data/earth/target/   the same without labels/train: to adapt, nobody labels the night
 *
 * The pictures are those of the npm package three-globe, under the MIT licence. `./run earth` installs
 * it beside this file, cuts the tiles where there are none yet, then trains:
 *
 *     deno run --allow-read=data,examples/earth/pictures --allow-write=data/earth,data/earth.partial examples/earth/tiles.ts
 */
import { dirname, join } from "node:path";
import { DataError } from "../../train/base/data_error.ts";
import { onDisk } from "../../train/base/refusal.ts";
import { entriesOf, exists, makeFolder, removeAll, renameFile } from "../../train/base/folders.ts";
import { encodeImage, encodeLabel, readImage } from "../../train/images/image.ts";
import { loadJpegCodec } from "../../train/images/jpeg.ts";
import type { RgbImage } from "../../train/images/rgb.ts";

const PICTURES = "examples/earth/pictures/node_modules/three-globe/example/img";

/** Whole Earths, 360° wide and 180° high, each of its own size. */
export interface Pictures {
  readonly day: RgbImage;
  readonly night: RgbImage;
  /** White where there is water, black on land. */
  readonly water: RgbImage;
}

/**
 * The Earth has 16 strips from pole to pole, from 180° west, 22.5° each. A strip belongs to one split
 * of one domain, so that no place is in two: what is measured lies where nothing was learnt. Those that
 * are left out are the Pacific.
 */
const STRIPS = 16;
const SPLITS = [
  { domain: "source", split: "train", strips: [3, 5, 8, 11, 13], labels: true },
  { domain: "source", split: "val", strips: [14], labels: true },
  { domain: "target", split: "train", strips: [2, 6, 7, 10, 12], labels: false },
  { domain: "target", split: "val", strips: [4, 9], labels: true },
] as const;
/**
 * Tiles are as wide as a strip and 45° high, so that most hold both land and water. One starts every 5.6°
 * from 75° north; nearer the poles all is ice.
 */
const [TILES, TOP, STEP] = [17, 75, 22.5 / 4];

/** Labels are places in this list, as no ids are given. */
const CLASSES = {
  classes: [{ name: "land", colour: [120, 160, 70] }, { name: "water", colour: [40, 80, 200] }],
};

/**
 * Cuts the tiles, unless the folder has them. It appears whole or not at all: what an interrupted
 * call leaves lies beside it, and the next call removes it.
 *
 * @param directory Holds `source/` and `target/` afterwards.
 * @param open Gives the pictures; not called where the tiles are there.
 * @returns Whether tiles were cut.
 * @throws {DataError} If the folder holds something else or cannot be written.
 */
export async function cutTiles(directory: string, open: () => Promise<Pictures>): Promise<boolean> {
  if (exists(directory)) {
    if (SPLITS.every((split) => isWhole(directory, split))) return false;
    throw new DataError(
      `Cannot cut tiles of the Earth into ${directory} as it holds something else, or not all of ` +
        `their files: expected nothing there, or every tile; move it away`,
    );
  }
  const partial = `${directory}.partial`;
  removeAll(partial);
  const { water, ...pictures } = await open();
  for (const { domain, split, strips, labels } of SPLITS) {
    const picture = domain === "source" ? pictures.day : pictures.night;
    for (const tile of tilesOf(strips, picture)) {
      const file = (kind: string) => join(partial, domain, kind, split, `${tile.name}.png`);
      write(file("images"), encodeImage(cut(picture, tile)));
      if (labels) write(file("labels"), encodeLabel(labelOf(water, tile, picture)));
    }
    const classes = new TextEncoder().encode(JSON.stringify(CLASSES, null, 2));
    write(join(partial, domain, "classes.json"), classes);
  }
  renameFile(partial, directory);
  return true;
}

function isWhole(directory: string, { domain, split, strips, labels }: typeof SPLITS[number]) {
  return (labels ? ["images", "labels"] : ["images"]).every((kind) => {
    const folder = join(directory, domain, kind, split);
    return exists(folder) && entriesOf(folder).length === strips.length * TILES;
  });
}

/** A part of a picture, in pixels. */
interface Tile {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function tilesOf(strips: readonly number[], picture: RgbImage): Tile[] {
  const width = picture.width / STRIPS;
  return strips.flatMap((strip) =>
    Array.from({ length: TILES }, (_, row) => ({
      name: `${String(strip).padStart(2, "0")}_${String(row).padStart(2, "0")}`,
      x: strip * width,
      y: Math.round((90 - TOP + row * STEP) / 180 * picture.height),
      width,
      height: 2 * width,
    }))
  );
}

function cut(picture: RgbImage, { x, y, width, height }: Tile): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * picture.width + x) * 3;
    data.set(picture.data.subarray(from, from + width * 3), row * width * 3);
  }
  return { data, width, height };
}

/** Land 0, water 1 at the pixels of a tile of a picture, from a mask that may be of another size. */
function labelOf(water: RgbImage, { x, y, width, height }: Tile, picture: RgbImage) {
  const data = new Uint8Array(width * height);
  const [scaleX, scaleY] = [water.width / picture.width, water.height / picture.height];
  for (let i = 0; i < data.length; i++) {
    const [column, row] = [x + i % width, y + Math.floor(i / width)];
    // Between the centres of the mask's pixels, so that coasts have no steps.
    data[i] = Number(grey(water, (column + 0.5) * scaleX - 0.5, (row + 0.5) * scaleY - 0.5) >= 128);
  }
  return { data, width, height };
}

/** A grey picture between its pixels, bilinearly. */
function grey({ data, width, height }: RgbImage, x: number, y: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const at = (column: number, row: number) =>
    data[(clamp(row, height) * width + clamp(column, width)) * 3];
  const line = (row: number) => at(left, row) + (x - left) * (at(left + 1, row) - at(left, row));
  return line(top) + (y - top) * (line(top + 1) - line(top));
}

function clamp(value: number, length: number): number {
  return Math.max(0, Math.min(length - 1, value));
}

function write(path: string, bytes: Uint8Array): void {
  makeFolder(dirname(path));
  onDisk(`write ${path}`, "make room", () => Deno.writeFileSync(path, bytes));
}

async function readPictures(): Promise<Pictures> {
  await loadJpegCodec();
  const read = (name: string) => readImage(join(PICTURES, `earth-${name}`));
  return { day: read("blue-marble.jpg"), night: read("night.jpg"), water: read("water.png") };
}

if (import.meta.main) {
  try {
    const isNew = await cutTiles("data/earth", readPictures);
    console.log(isNew ? "data/earth: tiles cut" : "data/earth: tiles are there");
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}
