/**
 * Images and labels in files, to pixels and back: PNG, and JPEG for images.
 *
 * @module
 */
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { openFile, readUpTo } from "../base/file_source.ts";
import { decodeJpeg, isJpegPath, parseJpegHeader } from "./jpeg.ts";
import {
  decodePng,
  encodePng,
  HEADER_BYTES,
  MAX_PIXELS,
  parsePngHeader,
  type PngHeader,
} from "./png.ts";
import type { RgbImage } from "./rgb.ts";

/** What is read of a JPEG file at once to find its header. */
const WINDOW_BYTES = 4096;
/** As many pixels as a file may have, uncompressed and of the widest kind. */
const MAX_FILE_BYTES = 8 * MAX_PIXELS;

/** A label map as the file holds it: one class id per pixel, row by row, not yet mapped. */
export interface LabelImage {
  /** `height · width` ids. */
  data: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
}

/**
 * Decodes a PNG to 8-bit RGB. Grey becomes three equal channels, palettes are looked up, 16-bit
 * samples are rounded to 8 bits, alpha is dropped.
 *
 * @param bytes The whole file.
 * @param name The file's name, for messages.
 * @throws {DataError} If the file is no PNG, is truncated or damaged, or is too large.
 */
export function decodeImage(bytes: Uint8Array, name: string): RgbImage {
  const { width, height, depth, channels, samples, palette } = decodePng(bytes, name);
  if (samples instanceof Uint8Array && depth === 8 && channels === 3) {
    return { data: samples, width, height };
  }
  const data = new Uint8Array(width * height * 3);
  if (palette) {
    for (let i = 0; i < samples.length; i++) {
      const colour = palette[samples[i]];
      if (!colour) {
        throw new DataError(
          `Cannot read ${name} as a pixel has palette index ${samples[i]}: ` +
            `expected an index below ${palette.length}; restore the file`,
        );
      }
      for (let c = 0; c < 3; c++) data[i * 3 + c] = colour[c];
    }
    return { data, width, height };
  }
  const scale = 255 / (2 ** depth - 1);
  const step = channels < 3 ? 0 : 1;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      data[i * 3 + c] = Math.round(samples[i * channels + c * step] * scale);
    }
  }
  return { data, width, height };
}

/**
 * Decodes a PNG label map: a palette image gives its indices, a grey one (1 to 16 bits) its values.
 *
 * @param bytes The whole file.
 * @param name The file's name, for messages.
 * @throws {DataError} If the file is no PNG, is truncated or damaged, is too large, or has colours
 * instead of ids.
 */
export function decodeLabel(bytes: Uint8Array, name: string): LabelImage {
  const { width, height, channels, samples } = decodePng(bytes, name);
  if (channels !== 1) {
    throw new DataError(
      `Cannot read label ${name} as it has ${channels} channels: expected a palette or grey PNG ` +
        `that holds class ids; convert its colours to ids first`,
    );
  }
  return { data: samples, width, height };
}

/** Reads only the header of a PNG file; throws a {@link DataError} like {@link parsePngHeader}. */
export function readPngHeader(path: string): PngHeader {
  return readFile(path, (file) => parsePngHeader(readUpTo(file, HEADER_BYTES), path));
}

/**
 * Reads the size that an image file declares; throws a {@link DataError} where it cannot be one.
 */
export function readImageSize(path: string): { width: number; height: number } {
  if (!isJpegPath(path)) return readPngHeader(path);
  return readFile(path, (file) => jpegHeaderOf(file, path));
}

/**
 * Reads and decodes an image file: JPEG if its name says so, else PNG.
 *
 * @throws {DataError} Like {@link decodeImage} and {@link decodeJpeg}.
 * @throws {TypeError} If it is a JPEG file and `loadJpegCodec` was not awaited before.
 */
export function readImage(path: string): RgbImage {
  return isJpegPath(path) ? decodeJpeg(readJpeg(path), path) : decodeImage(readPng(path), path);
}

/** Reads and decodes a label file; throws a {@link DataError} like {@link decodeLabel}. */
export function readLabel(path: string): LabelImage {
  return decodeLabel(readPng(path), path);
}

/** Encodes an RGB image as an 8-bit PNG file. */
export function encodeImage(image: RgbImage): Uint8Array<ArrayBuffer> {
  return encodePng(image, 3);
}

/** Encodes ids from 0 to 255, `height · width` of them, as a grey 8-bit PNG file. */
export function encodeLabel(
  label: { data: Uint8Array; width: number; height: number },
): Uint8Array<ArrayBuffer> {
  return encodePng(label, 1);
}

/**
 * A whole PNG file. Its header is judged first, so that a huge file of another kind costs nothing.
 */
export function readPng(path: string): Uint8Array {
  return readFile(path, (file) => {
    parsePngHeader(readUpTo(file, HEADER_BYTES), path);
    return readAll(file);
  });
}

function readJpeg(path: string): Uint8Array {
  return readFile(path, (file) => {
    jpegHeaderOf(file, path);
    return readAll(file);
  });
}

function jpegHeaderOf(file: Deno.FsFile, path: string) {
  // Small pieces of a larger one: a file of a million empty segments is not read a million times.
  let [start, bytes] = [0, readUpTo(file, WINDOW_BYTES)];
  return parseJpegHeader((offset, length) => {
    if (offset < start || offset + length > start + bytes.length) {
      file.seekSync(offset, Deno.SeekMode.Start);
      [start, bytes] = [offset, readUpTo(file, WINDOW_BYTES)];
    }
    return bytes.subarray(offset - start, offset - start + length);
  }, path);
}

function readAll(file: Deno.FsFile): Uint8Array {
  const { size } = file.statSync();
  if (size > MAX_FILE_BYTES) {
    throw new Deno.errors.NotSupported(
      `it has ${size} bytes, more than the ${MAX_FILE_BYTES} that pixels can take`,
    );
  }
  file.seekSync(0, Deno.SeekMode.Start);
  return readUpTo(file, size);
}

function readFile<T>(path: string, use: (file: Deno.FsFile) => T): T {
  try {
    using file = openFile(path);
    return use(file);
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(
      `Cannot read ${path} as ${describeFailure(error)}: ` +
        `expected ${
          isJpegPath(path) ? "a JPEG" : "a PNG"
        } file; restore the file or correct the path`,
      { cause: error },
    );
  }
}
