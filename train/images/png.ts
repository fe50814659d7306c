/**
 * The PNG format: headers, samples, files. Every error names the file, so that one bad image among
 * thousands is found from the message alone.
 *
 * @module
 */
import { crc32, deflateSync } from "node:zlib";
import { inflate } from "../../nn/formats/inflate.ts";
import { DataError } from "../base/data_error.ts";
import { filteredBytes, unfilter } from "./png_pixels.ts";

/** What the first 33 bytes of a PNG file declare. */
export interface PngHeader {
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
  /** Bits per sample: 1, 2, 4, 8 or 16. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA. */
  colourType: number;
  /** Whether the rows are interlaced (Adam7). */
  interlaced: boolean;
}

/** Images with more pixels than this (134 million) are refused before they are decoded. */
export const MAX_PIXELS: number = 2 ** 27;

/** Bytes that {@link parsePngHeader} needs. */
export const HEADER_BYTES = 33;
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
  const [depth, colourType, interlaced] = [bytes[24], bytes[25], bytes[28] === 1];
  const isKnown = DEPTHS[colourType]?.includes(depth) && !bytes[26] && !bytes[27] && bytes[28] < 2;
  if (view.getUint32(12) !== 0x49484452 || !isKnown) {
    throw new DataError(
      `Cannot read ${name} as its PNG header is damaged: found colour type ${colourType} with ` +
        `${depth} bits, methods ${bytes[26]}, ${bytes[27]} and ${bytes[28]}; restore the file`,
    );
  }
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) {
    throw new DataError(
      `Cannot read ${name} as its header declares ${width}×${height} pixels: expected 1 to ` +
        `${MAX_PIXELS} pixels; cut it into tiles or restore the file`,
    );
  }
  return { width, height, depth, colourType, interlaced };
}

/** A decoded PNG, its samples as the file means them. */
export interface Decoded {
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
  /** Bits per sample. */
  depth: number;
  /** Samples per pixel: 1 grey or palette index, 2 grey and alpha, 3 RGB, 4 RGBA. */
  channels: number;
  /** `height · width · channels` numbers below 2^depth, one array element each. */
  samples: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
  /** Red, green, blue (and alpha) by palette index; null unless the file has a palette. */
  palette: number[][] | null;
}

/**
 * Decodes a PNG to its samples.
 *
 * @param bytes The whole file.
 * @param name The file's name, for messages.
 * @throws {DataError} If the file is no PNG, is truncated or damaged, or is too large.
 */
export function decodePng(bytes: Uint8Array, name: string): Decoded {
  const { width, height, depth, colourType, interlaced } = parsePngHeader(bytes, name);
  if (interlaced && depth < 8) {
    throw new DataError(
      `Cannot read ${name} as it is interlaced with ${depth} bits per pixel: expected 8 or 16 bits ` +
        `or no interlacing; save it without interlacing`,
    );
  }
  const channels = CHANNELS[colourType];
  const chunks = readChunks(bytes, name);
  // True colour may come with a palette too, as advice to old screens.
  const palette = colourType === 3 ? chunks.palette : null;
  if (colourType === 3 && palette === null) {
    throw new DataError(`Cannot read ${name} as its palette is missing; restore the file`);
  }
  const layout = { width, height, bits: depth * channels, interlaced };
  let rows: Uint8Array<ArrayBuffer>;
  try {
    rows = unfilter(inflate(chunks.pixels, filteredBytes(layout), "zlib"), layout);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw damaged(name, `of ${width}×${height} pixels, its pixel data ${error.message}`);
  }
  const samples = depth < 8
    ? unpackBits(rows, width, height, depth)
    : depth === 8
    ? rows
    : fromBigEndian(rows);
  return { width, height, depth, channels, samples, palette };
}

/**
 * The pixel data and the palette of a file, every checksum compared. What else a file may hold, such
 * as colour profiles and texts, is passed over.
 */
function readChunks(
  bytes: Uint8Array,
  name: string,
): { pixels: Uint8Array; palette: number[][] | null } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Uint8Array[] = [];
  let palette: number[][] | null = null;
  for (let at = SIGNATURE.length;;) {
    if (at + 12 > bytes.length) throw truncated(name, bytes.length);
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length) throw truncated(name, bytes.length);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (crc32(bytes.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw damaged(name, `its chunk ${JSON.stringify(type)} does not match its checksum`);
    }
    const data = bytes.subarray(at + 8, end - 4);
    if (type === "IEND") break;
    if (type === "IHDR" && (at > SIGNATURE.length || length !== 13)) {
      throw damaged(name, "it has a second header, or one of another length");
    }
    if (type === "PLTE") {
      if (palette || length % 3 !== 0 || length > 3 * 256) {
        throw damaged(name, "it has a second palette, or one that is no list of 256 colours");
      }
      palette = Array.from({ length: length / 3 }, (_, i) => [...data.subarray(3 * i, 3 * i + 3)]);
    }
    if (type === "IDAT") parts.push(data);
    at = end;
  }
  return { pixels: parts.length === 1 ? parts[0] : concatenate(parts), palette };
}

/** Numbers of 16 bits, the high byte first, in the same memory. */
function fromBigEndian(bytes: Uint8Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  const numbers = new Uint16Array(bytes.buffer);
  for (let i = 0; i < numbers.length; i++) numbers[i] = bytes[2 * i] << 8 | bytes[2 * i + 1];
  return numbers;
}

/**
 * One array element per sample, from rows that hold `8 / depth` samples per byte, each row padded to a
 * byte.
 */
function unpackBits(
  packed: Uint8Array,
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

/**
 * Encodes 8-bit samples as a PNG file.
 *
 * @param image `height · width · channels` bytes.
 * @param channels 3 for RGB, 1 for grey.
 * @throws {RangeError} If the bytes do not fit the size.
 */
export function encodePng(
  { data, width, height }: { data: Uint8Array; width: number; height: number },
  channels: 1 | 3,
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
  header[9] = channels === 3 ? 2 : 0;
  return concatenate([
    Uint8Array.from(SIGNATURE),
    pngChunk("IHDR", header),
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

function damaged(name: string, reason: string): DataError {
  return new DataError(
    `Cannot read ${name} as its PNG data is damaged: ${reason}; restore the file`,
  );
}

function truncated(name: string, length: number): DataError {
  return new DataError(
    `Cannot read ${name} as it is truncated: it ends after ${length} bytes, within the PNG data; ` +
      `restore the file`,
  );
}
