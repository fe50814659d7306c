/**
 * Pictures for people: labels in class colours, over an image or beside it.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { makeFolder } from "../base/folders.ts";
import { encodeImage } from "./image.ts";
import type { Colour, RgbImage } from "./rgb.ts";

/** Class indices, one per pixel, row by row. */
export interface LabelMap {
  /** `height · width` class indices. */
  data: ArrayLike<number>;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
}

/** One row of pictures. The maps may be of another size than the image, as at a quarter of it. */
export interface SampleRow {
  /** The target image. */
  image: RgbImage;
  /** The maps beside it, from left to right: label, prediction, denoised label. */
  maps: readonly LabelMap[];
}

/**
 * Paints every class in its colour.
 *
 * @param palette The colour of each class; indices past its end, such as the ignore label, are
 * black.
 */
export function colourLabel(
  { data, width, height }: LabelMap,
  palette: readonly Colour[],
): RgbImage {
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const colour = palette[data[i]];
    if (colour) pixels.set(colour, i * 3);
  }
  return { data: pixels, width, height };
}

/**
 * Blends class colours over an image.
 *
 * @param opacity Of the colours, from 0 to 1.
 * @param palette The colour of each class; pixels of other indices show the image alone.
 * @throws {RangeError} If the sizes differ.
 */
export function overlay(
  image: RgbImage,
  label: LabelMap,
  opacity: number,
  palette: readonly Colour[],
): RgbImage {
  const { width, height } = image;
  if (label.width !== width || label.height !== height) {
    throw new RangeError(
      `Cannot lay a label over an image of another size: label is ${label.width}×${label.height}, ` +
        `image is ${width}×${height}`,
    );
  }
  const pixels = image.data.slice();
  for (let i = 0; i < width * height; i++) {
    const colour = palette[label.data[i]];
    if (!colour) continue;
    for (let c = 0; c < 3; c++) {
      pixels[i * 3 + c] = Math.round((1 - opacity) * pixels[i * 3 + c] + opacity * colour[c]);
    }
  }
  return { data: pixels, width, height };
}

/**
 * Path of one of an image's pictures, `KIND/NAME.png` in a folder; the name may have folders of its
 * own.
 */
export function picturePath(folder: string, kind: string, name: string): string {
  return join(folder, kind, `${name}.png`);
}

/**
 * Writes one of an image's pictures, and makes the folders above it.
 *
 * @param png The file.
 * @throws {DataError} If it cannot be written.
 */
export function writePicture(folder: string, kind: string, name: string, png: Uint8Array): void {
  const path = picturePath(folder, kind, name);
  makeFolder(dirname(path));
  writeFileAtomic(path, [png]);
}

/** Wider pictures are shrunk by a whole factor, so that four of them fit on a screen. */
const MAX_PANEL_WIDTH = 640;

/**
 * Puts rows of pictures into one PNG file: image, then its maps, two white pixels apart. Every
 * picture takes the size of the first image, shrunk where that is wider than 640 pixels. Folders
 * above it are made.
 *
 * @param rows At least one, all with as many maps.
 * @param palette The colour of each class.
 * @throws {DataError} If the file cannot be written.
 * @throws {RangeError} If there is no row, or rows differ in their number of maps.
 */
export function writeSamples(
  path: string,
  rows: readonly SampleRow[],
  palette: readonly Colour[],
): void {
  if (rows.length === 0) throw new RangeError("Cannot write samples without a row");
  const { width, height } = rows[0].image;
  const factor = Math.ceil(width / MAX_PANEL_WIDTH);
  const size = { width: Math.ceil(width / factor), height: Math.ceil(height / factor) };
  const panels = rows.map(({ image, maps }) =>
    [image, ...maps.map((map) => colourLabel(map, palette))].map((panel) =>
      resizeImage(panel, size)
    )
  );
  makeFolder(dirname(path));
  writeFileAtomic(path, [encodeImage(contactSheet(panels))]);
}

/**
 * Lays out pictures of one size in a grid, two white pixels apart.
 *
 * @throws {RangeError} If there is none, or sizes or the lengths of rows differ.
 */
export function contactSheet(rows: readonly (readonly RgbImage[])[]): RgbImage {
  const gap = 2;
  const columns = rows[0]?.length ?? 0;
  if (columns === 0) throw new RangeError("Cannot make a contact sheet without pictures");
  const { width, height } = rows[0][0];
  const sheet = whiteImage(columns * (width + gap) - gap, rows.length * (height + gap) - gap);
  rows.forEach((row, at) => {
    if (row.length !== columns) {
      throw new RangeError(
        `Cannot make a contact sheet as its rows must have the same length: row ${at} has ` +
          `${row.length}, the first ${columns}`,
      );
    }
    row.forEach((panel, column) => {
      if (panel.width !== width || panel.height !== height) {
        throw new RangeError(
          `Cannot make a contact sheet as its pictures must have the same size: found ` +
            `${panel.width}×${panel.height} beside ${width}×${height}`,
        );
      }
      paste(sheet, panel, column * (width + gap), at * (height + gap));
    });
  });
  return sheet;
}

/** A white image. */
export function whiteImage(width: number, height: number): RgbImage {
  return { data: new Uint8Array(width * height * 3).fill(255), width, height };
}

/** Copies an image into a larger one, which it must fit. */
export function paste(
  sheet: RgbImage,
  { data, width, height }: RgbImage,
  x: number,
  y: number,
): void {
  for (let row = 0; row < height; row++) {
    const line = data.subarray(row * width * 3, (row + 1) * width * 3);
    sheet.data.set(line, ((y + row) * sheet.width + x) * 3);
  }
}

/** Resizes an image, each pixel that of the nearest place. */
export function resizeImage(image: RgbImage, size: { width: number; height: number }): RgbImage {
  const { width, height } = size;
  if (image.width === width && image.height === height) return image;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const sourceY = Math.floor((y + 0.5) * image.height / height);
    for (let x = 0; x < width; x++) {
      const sourceX = Math.floor((x + 0.5) * image.width / width);
      const at = (sourceY * image.width + sourceX) * 3;
      data.set(image.data.subarray(at, at + 3), (y * width + x) * 3);
    }
  }
  return { data, width, height };
}
