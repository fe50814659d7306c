/**
 * PNG files to pixels and back. Every error names the file, so that one bad image among thousands
 * is found from the message alone.
 *
 * @module
 */
import { crc32, deflateSync } from "node:zlib";
import { decode } from "fast-png";
import { DataError, describeFailure } from "./data_error.ts";

/** An 8-bit colour image: 3 bytes (red, green, blue) a pixel, row by row. */
export interface RgbImage {
  /** `height · width · 3` bytes. */
  data: Uint8Array<ArrayBuffer>;
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
}

/** A label map as the file holds it: one class id a pixel, row by row, not yet mapped. */
export interface LabelImage {
  /** `height · width` ids. */
  data: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
}

/** What the first 33 bytes of a PNG file declare. */
export interface PngHeader {
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
  /** Bits a sample: 1, 2, 4, 8 or 16. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA. */
  colorType: number;
  /** Whether the rows are interlaced (Adam7). */
  interlaced: boolean;
}

/** A red, green, blue triple of bytes. */
export type Colour = readonly [number, number, number];

/** Images with more pixels than this (134 million) are refused before they are decoded. */
export const MAX_PIXELS: number = 2 ** 27;

const HEADER_BYTES = 33;
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, readonly number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/**
 * Reads the header of a PNG, without decoding a pixel.
 *
 * @param bytes The file, or at least its first 33 bytes.
 * @param name The file's name, for messages.
 * @throws {DataError} If this is no PNG, or its declared size is zero or over {@link MAX_PIXELS}.
 */
export function parsePngHeader(bytes: Uint8Array, name: string): PngHeader {
  if (SIGNATURE.some((byte, at) => bytes[at] !== byte)) {
    const found = bytes.length === 0 ? "it is empty" : "it does not start with the PNG signature";
    throw new DataError(`Cannot read ${name} as ${found}: expected a PNG file; convert it to PNG`);
  }
  if (bytes.length < HEADER_BYTES) throw truncated(name, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [depth, colorType, interlaced] = [bytes[24], bytes[25], bytes[28] === 1];
  if (view.getUint32(12) !== 0x49484452 || !DEPTHS[colorType]?.includes(depth)) {
    throw new DataError(
      `Cannot read ${name} as its PNG header is damaged: found colour type ${colorType} with ` +
        `${depth} bits; restore the file`,
    );
  }
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) {
    throw new DataError(
      `Cannot read ${name} as its header declares ${width}×${height} pixels: expected 1 to ` +
        `${MAX_PIXELS} pixels; cut it into tiles or restore the file`,
    );
  }
  return { width, height, depth, colorType, interlaced };
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
          `Cannot read ${name} as a pixel has palette index ${
            samples[i]
          }: expected an index below ` +
            `${palette.length}; restore the file`,
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

/** Reads and decodes an image file; throws a {@link DataError} like {@link decodeImage}. */
export function readImage(path: string): RgbImage {
  return decodeImage(readPng(path), path);
}

/** Reads and decodes a label file; throws a {@link DataError} like {@link decodeLabel}. */
export function readLabel(path: string): LabelImage {
  return decodeLabel(readPng(path), path);
}

/** Encodes an RGB image as an 8-bit PNG file. */
export function encodeImage(image: RgbImage): Uint8Array<ArrayBuffer> {
  return encodePng(image, 3);
}

/**
 * Encodes one byte a pixel as an 8-bit PNG file: a palette image if colours are given, else grey.
 *
 * @param label Ids from 0 to 255 (`height · width` of them).
 * @param palette The colour of each id from 0 on, at most 256.
 * @throws {RangeError} If an id has no colour in the palette.
 */
export function encodeLabel(
  label: { data: Uint8Array; width: number; height: number },
  palette?: readonly Colour[],
): Uint8Array<ArrayBuffer> {
  const stray = palette ? label.data.find((id) => id >= palette.length) : undefined;
  if (stray !== undefined) {
    throw new RangeError(
      `Cannot encode label as an id has no colour: id is ${stray}, palette has ${palette?.length}`,
    );
  }
  return encodePng(label, 1, palette);
}

interface Decoded {
  width: number;
  height: number;
  depth: number;
  channels: number;
  /** `height · width · channels` numbers below 2^depth, one array element each. */
  samples: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  palette: number[][] | null;
}

function decodePng(bytes: Uint8Array, name: string): Decoded {
  const { width, height, depth, colorType, interlaced } = parsePngHeader(bytes, name);
  if (interlaced && depth < 8) {
    throw new DataError(
      `Cannot read ${name} as it is interlaced with ${depth} bits a pixel: expected 8 or 16 bits ` +
        `or no interlacing; save it without interlacing`,
    );
  }
  checkComplete(bytes, name);
  let decoded;
  try {
    decoded = decode(bytes, { checkCrc: true });
  } catch (error) {
    const { cause, message } = error as Error;
    throw new DataError(
      `Cannot read ${name} as its PNG data is damaged: ` +
        `${cause instanceof Error ? cause.message : message}; restore the file`,
      { cause: error },
    );
  }
  if (colorType === 3 && !decoded.palette) {
    throw new DataError(`Cannot read ${name} as its palette is missing; restore the file`);
  }
  const samples = depth < 8
    ? unpackBits(decoded.data, width, height, depth)
    : decoded.data as Decoded["samples"];
  const channels = CHANNELS[colorType];
  return { width, height, depth, channels, samples, palette: decoded.palette ?? null };
}

/** Follows the chunks to the end mark, so that a file that was cut is called so. */
function checkComplete(bytes: Uint8Array, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = 0x49454e44; // "IEND"
  for (let at = SIGNATURE.length, type = 0; type !== end;) {
    if (at + 12 > bytes.length) throw truncated(name, bytes.length);
    type = view.getUint32(at + 4);
    at += 12 + view.getUint32(at);
    if (at > bytes.length) throw truncated(name, bytes.length);
  }
}

/** One array element a sample, from rows that hold `8 / depth` samples a byte, each row padded to a byte. */
function unpackBits(
  packed: ArrayLike<number>,
  width: number,
  height: number,
  depth: number,
): Uint8Array<ArrayBuffer> {
  const rowBytes = Math.ceil(width * depth / 8);
  const samples = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = packed[y * rowBytes + (bit >> 3)];
      samples[y * width + x] = (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
    }
  }
  return samples;
}

/** Three times faster than fast-png's encoder, which writes byte by byte. */
function encodePng(
  { data, width, height }: { data: Uint8Array; width: number; height: number },
  channels: 1 | 3,
  palette?: readonly Colour[],
): Uint8Array<ArrayBuffer> {
  if (data.length !== width * height * channels) {
    throw new RangeError(
      `Cannot encode PNG as its pixels do not fit its size: ${data.length} bytes for ` +
        `${width}×${height}×${channels}`,
    );
  }
  const rowBytes = width * channels;
  const rows = new Uint8Array(height * (rowBytes + 1));
  for (let y = 0; y < height; y++) {
    const row = rows.subarray(y * (rowBytes + 1), (y + 1) * (rowBytes + 1));
    row.set(data.subarray(y * rowBytes, (y + 1) * rowBytes), 1);
    if (channels === 1) continue; // ids compress best as they are
    row[0] = 1; // "Sub": each byte is the difference from the pixel on its left
    for (let i = rowBytes; i > channels; i--) row[i] -= row[i - channels];
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = channels === 3 ? 2 : palette ? 3 : 0;
  return concatenate([
    Uint8Array.from(SIGNATURE),
    pngChunk("IHDR", header),
    ...(palette ? [pngChunk("PLTE", Uint8Array.from(palette.flat()))] : []),
    pngChunk("IDAT", deflateSync(rows, { level: 3 })),
    pngChunk("IEND", new Uint8Array(0)),
  ]);
}

function pngChunk(type: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const chunk = new Uint8Array(12 + data.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) chunk[4 + i] = type.charCodeAt(i);
  chunk.set(data, 8);
  view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
  return chunk;
}

function concatenate(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The header is judged before the rest is read, so that a huge file of another kind costs nothing. */
function readPng(path: string): Uint8Array {
  return readFile(path, (file) => {
    parsePngHeader(readUpTo(file, HEADER_BYTES), path);
    const { size } = file.statSync();
    file.seekSync(0, Deno.SeekMode.Start);
    return readUpTo(file, size);
  });
}

function readFile<T>(path: string, use: (file: Deno.FsFile) => T): T {
  try {
    using file = Deno.openSync(path);
    return use(file);
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(
      `Cannot read ${path} as ${
        describeFailure(error)
      }: expected a PNG file; restore the file or ` +
        `correct the path`,
      { cause: error },
    );
  }
}

function readUpTo(file: Deno.FsFile, limit: number): Uint8Array {
  const bytes = new Uint8Array(limit);
  let count = 0;
  while (count < limit) {
    const read = file.readSync(bytes.subarray(count));
    if (read === null) break;
    count += read;
  }
  return bytes.subarray(0, count);
}

function truncated(name: string, length: number): DataError {
  return new DataError(
    `Cannot read ${name} as it is truncated: it ends after ${length} bytes, within the PNG data; ` +
      `restore the file`,
  );
}
