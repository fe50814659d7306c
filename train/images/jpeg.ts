/**
 * JPEG files: headers by hand, pixels by mozjpeg (a package that is loaded with the first JPEG
 * file). Pixels come as they are stored: an orientation in the metadata is left alone, as label
 * maps of photographs fit the stored pixels.
 *
 * @module
 */
import { DataError } from "../base/data_error.ts";
import { MAX_PIXELS } from "./png.ts";

/** Fill bytes that are looked at together. */
const RUN_BYTES = 64;
/** Scans of a progressive file; encoders write a dozen, and each goes over the whole image. */
const MAX_SCANS = 100;
/**
 * Pixels that a byte can stand for: a block of 8×8 pixels takes at least a bit, which makes 512; where
 * channels are halved in odd ways, up to twice that.
 */
const MAX_PIXELS_PER_BYTE = 1024;

/** What a JPEG file declares before its first pixel. */
export interface JpegHeader {
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
  /** 1 grey, 3 colour. */
  channels: number;
}

/** Whether a file's name says that it is a JPEG file. */
export function isJpegPath(path: string): boolean {
  return /\.jpe?g$/i.test(path);
}

/**
 * Follows the segments of a JPEG to the one that declares its size.
 *
 * @param read The bytes at an offset, fewer at the end of the file.
 * @param name The file's name, for messages.
 * @throws {DataError} If this is no JPEG, or one of a kind that is not read: more than 8 bits per
 * sample, four channels, lossless or arithmetic coding; or its size is zero or over {@link
 * MAX_PIXELS}.
 */
export function parseJpegHeader(
  read: (offset: number, length: number) => Uint8Array,
  name: string,
): JpegHeader {
  const start = read(0, 2);
  if (start[0] !== 0xff || start[1] !== 0xd8) {
    const found = start.length === 0 ? "it is empty" : "it does not start with the JPEG signature";
    throw new DataError(
      `Cannot read ${name} as ${found}: expected a JPEG file; convert it, or correct its extension`,
    );
  }
  for (let at = 2;;) {
    const head = read(at, 10);
    if (head.length < 10) throw truncated(name, at + head.length);
    const [prefix, marker, high, low] = head;
    if (prefix !== 0xff) throw damaged(name, `no segment begins at byte ${at}`);
    if (marker === 0xff) { // fill bytes
      const run = read(at, RUN_BYTES);
      const end = run.findIndex((byte) => byte !== 0xff);
      at += (end < 0 ? run.length : end) - 1;
      continue;
    }
    if (marker === 0xda) throw damaged(name, "its pixels begin before its size");
    // Start of frame; C4, C8 and CC are other segments of that range.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return checkFrame(head, name);
    }
    at += 2 + high * 256 + low;
  }
}

function checkFrame(head: Uint8Array, name: string): JpegHeader {
  const [, marker, , , bits, heightHigh, heightLow, widthHigh, widthLow, channels] = head;
  const [width, height] = [widthHigh * 256 + widthLow, heightHigh * 256 + heightLow];
  const coding = marker > 0xc2 ? "a lossless, hierarchical or arithmetic coding" : null;
  const odd = coding ?? (bits !== 8 ? `${bits} bits per sample` : null) ??
    (channels !== 1 && channels !== 3 ? `${channels} channels` : null);
  if (odd !== null) {
    throw new DataError(
      `Cannot read ${name} as it has ${odd}: expected a baseline or progressive JPEG file, grey or ` +
        `RGB, 8 bits; convert it to one, or to PNG`,
    );
  }
  if (width * height === 0 || width * height > MAX_PIXELS) {
    throw new DataError(
      `Cannot read ${name} as its header declares ${width}×${height} pixels: expected 1 to ` +
        `${MAX_PIXELS} pixels; cut it into tiles or restore the file`,
    );
  }
  return { width, height, channels };
}

/** What is used of the package's codec. */
interface Codec {
  decode(bytes: Uint8Array, rotate: boolean): { data: Uint8ClampedArray } | null;
}

let createCodec: (() => Codec) | null = null;
let codec: Codec | null = null;
/** What the codec says, which goes on with grey where a file ends or is damaged. */
const complaints: string[] = [];

/** Loads the codec, once; {@link decodeJpeg} needs it. */
export async function loadJpegCodec(): Promise<void> {
  if (createCodec) return;
  const { default: create } = await import("@jsquash/jpeg/codec/dec/mozjpeg_dec.js");
  // Imported, as reading the file would need a permission beside that for the user's own.
  // @ts-expect-error: TypeScript does not know this kind of import yet.
  const module = await import.source("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm");
  createCodec = () => {
    // The package fills what it is given, here before it returns: the module is compiled already.
    const made = {
      noInitialRun: true,
      printErr: (text: string) => complaints.push(text),
      instantiateWasm(
        imports: WebAssembly.Imports,
        use: (instance: WebAssembly.Instance) => void,
      ): WebAssembly.Exports {
        const instance = new WebAssembly.Instance(module, imports);
        use(instance);
        return instance.exports;
      },
    };
    (create as unknown as (options: object) => void)(made);
    return made as unknown as Codec;
  };
}

/**
 * Decodes a JPEG to 8-bit RGB; grey becomes three equal channels.
 *
 * @param bytes The whole file.
 * @param name The file's name, for messages.
 * @throws {DataError} If the file is no JPEG of a kind that is read, is truncated or damaged.
 * @throws {TypeError} If {@link loadJpegCodec} was not awaited before.
 */
export function decodeJpeg(
  bytes: Uint8Array,
  name: string,
): { data: Uint8Array<ArrayBuffer>; width: number; height: number } {
  const { width, height } = parseJpegHeader(
    (offset, length) => bytes.subarray(offset, offset + length),
    name,
  );
  checkComplete(bytes, name);
  if (width * height > MAX_PIXELS_PER_BYTE * bytes.length) {
    throw damaged(name, `${bytes.length} bytes cannot hold the ${width}×${height} pixels declared`);
  }
  if (!createCodec) throw new TypeError(`Cannot decode ${name} before the JPEG codec is loaded`);
  complaints.length = 0;
  let rgba: Uint8ClampedArray | undefined;
  try {
    codec ??= createCodec();
    rgba = codec.decode(bytes, false)?.data;
  } catch {
    // The codec has said why. Its stack is left as it was: after some dozens of failures it is full.
    codec = null;
  }
  if (complaints.some((text) => text.startsWith("Premature end"))) {
    throw truncated(name, bytes.length);
  }
  // Bytes between segments, which cameras leave, and odd metadata cost no pixel.
  const loss = complaints.find((text) => /^Corrupt JPEG data: (?!\d+ extraneous)/.test(text));
  if (loss !== undefined || rgba?.length !== width * height * 4) {
    throw damaged(name, loss ?? complaints.at(-1) ?? "it has fewer pixels than it declares");
  }
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4) {
    data[to++] = rgba[from];
    data[to++] = rgba[from + 1];
    data[to++] = rgba[from + 2];
  }
  return { data, width, height };
}

/** Follows the segments, past the coded pixels, to the end mark. */
function checkComplete(bytes: Uint8Array, name: string): void {
  let scans = 0;
  for (let at = 2;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0) throw truncated(name, bytes.length);
    while (bytes[at] === 0xff) at++;
    const marker = bytes[at++];
    if (marker === 0xd9) return;
    // A byte of the pixels, a restart of theirs, or another mark that has no length.
    if (marker <= 0x01 || marker >= 0xd0 && marker <= 0xd8) continue;
    if (marker === 0xda && ++scans > MAX_SCANS) {
      throw damaged(name, `it goes over its pixels more than ${MAX_SCANS} times`);
    }
    if (at + 2 > bytes.length) throw truncated(name, bytes.length);
    at += bytes[at] * 256 + bytes[at + 1];
  }
}

function truncated(name: string, length: number): DataError {
  return new DataError(
    `Cannot read ${name} as it is truncated: it ends after ${length} bytes, within the JPEG data; ` +
      `restore the file`,
  );
}

function damaged(name: string, reason: string): DataError {
  return new DataError(
    `Cannot read ${name} as its JPEG data is damaged: ${reason}; restore the file`,
  );
}
