// The pictures that a run has drawn, cut out of the sheets that it has put them on.

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { readFile } from "../base/folders.ts";
import { CLASSES } from "../data/classes.ts";
import type { ClassSet } from "../data/class_set.ts";
import { decodeImage } from "../images/image.ts";
import type { Colour, RgbImage } from "../images/rgb.ts";
import type { PictureRow } from "./picture_rows.ts";

/** White pixels between two pictures of a sheet; see `contactSheet`. */
const GAP = 2;

/** The steps of a stage's labels that are shown at most. */
const MOST_STEPS = 6;

/** Rows of a sheet of `samples/`, and pictures of a row: image, label, prediction, the stage's label. */
const [MOST_ROWS, MOST_COLUMNS] = [64, 4];

/**
 * Cuts a sheet into its pictures, row by row; as many as there are white gaps between.
 *
 * @param path A PNG file.
 * @throws {DataError} If it cannot be read.
 */
export function readSheet(path: string): RgbImage[][] {
  const sheet = decodeImage(readFile(path), path);
  const [columns, rows] = [partsOf(sheet, "x", MOST_COLUMNS), partsOf(sheet, "y", MOST_ROWS)];
  const width = (sheet.width + GAP) / columns - GAP;
  const height = (sheet.height + GAP) / rows - GAP;
  return Array.from({ length: rows }, (_, y) =>
    Array.from({ length: columns }, (_, x) => {
      const data = new Uint8Array(width * height * 3);
      for (let line = 0; line < height; line++) {
        const from = ((y * (height + GAP) + line) * sheet.width + x * (width + GAP)) * 3;
        data.set(sheet.data.subarray(from, from + width * 3), line * width * 3);
      }
      return { data, width, height };
    }));
}

/** In how many parts white gaps divide a side of a sheet evenly. */
function partsOf(sheet: RgbImage, side: "x" | "y", most: number): number {
  const length = side === "x" ? sheet.width : sheet.height;
  for (let parts = most; parts > 1; parts--) {
    const pitch = (length + GAP) / parts;
    if (!Number.isInteger(pitch) || pitch <= GAP) continue;
    const gaps = Array.from(
      { length: (parts - 1) * GAP },
      (_, at) => (Math.floor(at / GAP) + 1) * pitch - GAP + at % GAP,
    );
    if (gaps.every((at) => isWhite(sheet, side, at))) return parts;
  }
  return 1;
}

/** Whether a column, or a row, of pixels is white. */
function isWhite({ data, width, height }: RgbImage, side: "x" | "y", at: number): boolean {
  const [first, step, count] = side === "x" ? [at, width, height] : [at * width, 1, width];
  for (let k = 0; k < count; k++) {
    const pixel = (first + k * step) * 3;
    if ((data[pixel] & data[pixel + 1] & data[pixel + 2]) !== 255) return false;
  }
  return true;
}

/**
 * The labels that a stage has made of the sample images; none where its sheet shows none.
 *
 * @param isLabelled Whether the sheet shows the images' own labels.
 */
export function madeLabels(
  folder: string,
  stage: string,
  classes: ClassSet,
  isLabelled: boolean,
): RgbImage[] {
  const path = join(folder, "samples", `${stage}.png`);
  if (!existsSync(path)) return [];
  const given = isLabelled ? 3 : 2;
  return readSheet(path).flatMap((row) =>
    row.length > given ? [inColoursOf(classes, row[given])] : []
  );
}

/** Image, label where there is one, and prediction of every stage, with the label that it has made. */
export function sampleRows(
  folder: string,
  stages: readonly string[],
  classes: ClassSet | null,
): PictureRow[] {
  const sheets = stages.map((name) => ({ name, path: join(folder, "samples", `${name}.png`) }))
    .filter(({ path }) => existsSync(path))
    .map(({ name, path }) => ({ name, rows: readSheet(path) }));
  if (sheets.length === 0) return [];
  const [{ rows }] = sheets;
  const isLabelled = sheets.every(({ rows: [row] }) => row.length > 2);
  const given = isLabelled ? ["image", "label"] : ["image"];
  return rows.map((_, at) => ({
    name: `Image ${at + 1}`,
    panels: [
      ...given.map((name, column) => ({ name, image: rows[at][column] })),
      ...sheets.flatMap(({ name, rows }) => {
        const [prediction, made] = rows[at].slice(given.length);
        return [
          ...(made ? [{ name: `labels of ${name}`, image: made }] : []),
          { name, image: prediction },
        ];
      }),
    ].map(({ name, image }, column) => ({
      name,
      image: column > 0 ? inColoursOf(classes, image) : image,
    })),
  }));
}

/** Image, label and the label that a stage has made at some of the steps, as the paper's Figure 2. */
export function labelsByStep(
  folder: string,
  stage: string,
  classes: ClassSet | null,
): PictureRow[] {
  const path = join(folder, "samples", stage);
  const files = existsSync(path) ? [...Deno.readDirSync(path)].map(({ name }) => name).sort() : [];
  const count = Math.min(files.length, MOST_STEPS);
  const shown = Array.from(
    { length: count },
    (_, at) => files[Math.round(at * (files.length - 1) / Math.max(1, count - 1))],
  );
  const sheets = shown.map((file) => ({
    step: Number(basename(file, ".png").replace(/^step_/, "")),
    rows: readSheet(join(path, file)),
  }));
  const [first] = sheets;
  if (!first || first.rows[0].length !== MOST_COLUMNS) return [];
  return first.rows.map(([image, label], at) => ({
    name: `Image ${at + 1}`,
    panels: [
      { name: "image", image },
      { name: "label", image: inColoursOf(classes, label) },
      ...sheets.map(({ step, rows }) => ({
        name: `step ${step}`,
        image: inColoursOf(classes, rows[at][MOST_COLUMNS - 1]),
      })),
    ],
  }));
}

/** A painted label in today's colours, where an earlier version has painted it in the official ones. */
function inColoursOf(classes: ClassSet | null, map: RgbImage): RgbImage {
  if (!classes?.isCityscapes) return map;
  const { names, palette } = classes;
  const known = new Map(names.flatMap((name, k): [number, Colour][] => {
    const official = CLASSES.find((candidate) => candidate.name === name)?.colour;
    return official && String(official) !== String(palette[k])
      ? [[packed(official, 0), palette[k]]]
      : [];
  }));
  if (known.size === 0) return map;
  const data = map.data.slice();
  for (let at = 0; at < data.length; at += 3) {
    const colour = known.get(packed(data, at));
    if (colour) data.set(colour, at);
  }
  return { ...map, data };
}

function packed(data: ArrayLike<number>, at: number): number {
  return data[at] << 16 | data[at + 1] << 8 | data[at + 2];
}
