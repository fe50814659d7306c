/** PNG files for tests: plain ones, and by hand what no encoder writes (odd bit depths, absurd headers). */
import { dirname } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { encodeImage, encodeLabel } from "../../train/images/image.ts";

/** Writes a file and makes the folders above it. */
export function write(path: string, bytes: Uint8Array): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeFileSync(path, bytes);
}

/** An image of one shade. */
export function imagePng(shade: number, width = 4, height = 2): Uint8Array {
  return encodeImage({ data: new Uint8Array(width * height * 3).fill(shade), width, height });
}

/** A grey label of one id. */
export function labelPng(id: number, width = 4, height = 2): Uint8Array {
  return encodeLabel({ data: new Uint8Array(width * height).fill(id), width, height });
}

/** A label whose ids are indices of a palette, 8 bits each. */
export function palettePng(
  { data, width, height }: { data: Uint8Array; width: number; height: number },
  palette: readonly (readonly number[])[],
): Uint8Array {
  const rows = Array.from(
    { length: height },
    (_, y) => [0, ...data.subarray(y * width, (y + 1) * width)],
  );
  const colours = palette.map((colour) => [...colour]);
  return rawPng({ width, height, depth: 8, colourType: 3, rows: rows.flat(), palette: colours });
}

export interface RawPng {
  width: number;
  height: number;
  depth: number;
  colourType: number;
  /** Filter byte and packed samples of each row. */
  rows: ArrayLike<number>;
  palette?: number[][];
  interlaced?: boolean;
}

export function rawPng(png: RawPng): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, png.width);
  view.setUint32(4, png.height);
  header.set([png.depth, png.colourType, 0, 0, png.interlaced ? 1 : 0], 8);
  const parts = [
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    chunk("IHDR", header),
    ...(png.palette ? [chunk("PLTE", Uint8Array.from(png.palette.flat()))] : []),
    chunk("IDAT", deflateSync(Uint8Array.from(png.rows))),
    chunk("IEND", new Uint8Array(0)),
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A chunk with its right checksum. */
export function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}
