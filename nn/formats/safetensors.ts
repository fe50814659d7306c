// safetensors, read and written: eight bytes of header length, a JSON header, the arrays.
//
// A file may come from anywhere, so everything is checked before anything is allocated: the
// header's length, every key, every range against the file and its neighbours, every shape against
// its range.

import { BIG_ENDIAN, swapOnBigEndian, toFloats } from "./element_types.ts";
import {
  parseHeader,
  SAFETENSORS_TYPES,
  type SafetensorsEntry,
  type SafetensorsType,
} from "./safetensors_header.ts";
import { quoted, WeightsFileError, WeightsMismatchError } from "./weights_error.ts";
import type { ByteSource, WeightsFile } from "./weights_file.ts";

export {
  SAFETENSORS_TYPES,
  type SafetensorsEntry,
  type SafetensorsType,
} from "./safetensors_header.ts";

/** The most bytes that a header may take; those of networks take less than one MiB. */
const MAX_HEADER_BYTES = 32 * 2 ** 20;

/** A safetensors file: its table of contents, and access to the arrays. */
export class Safetensors implements WeightsFile {
  /** Free text by key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Arrays by name, in order of the header. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly #source: ByteSource;
  #scratch = new Uint8Array();

  /**
   * Reads and checks the header, and no array yet.
   *
   * @throws {WeightsFileError} If the file is not sound: what is wrong and where.
   */
  constructor(source: ByteSource | Uint8Array) {
    this.#source = source instanceof Uint8Array ? sourceOf(source) : source;
    const { size } = this.#source;
    if (size < 8) throw broken(`it has ${size} bytes and its length alone takes 8`);
    const start = new Uint8Array(8);
    this.#source.read(0, start);
    const headerBytes = Number(new DataView(start.buffer).getBigUint64(0, true));
    if (headerBytes > size - 8) {
      throw broken(`its header claims ${headerBytes} bytes and the file has ${size}`);
    }
    if (headerBytes > MAX_HEADER_BYTES) {
      throw broken(`its header takes ${headerBytes} bytes, and ${MAX_HEADER_BYTES} at most`);
    }
    const header = new Uint8Array(headerBytes);
    this.#source.read(8, header);
    const { metadata, entries } = parseHeader(header);
    this.metadata = metadata;
    this.entries = checkEntries(entries, 8 + headerBytes, size);
  }

  /**
   * The entry of that name.
   *
   * @throws {RangeError} If there is none.
   */
  entry(name: string): SafetensorsEntry {
    const entry = this.entries.get(name);
    if (!entry) throw new RangeError(`Cannot read "${name}" as the file holds no such array`);
    return entry;
  }

  /**
   * The numbers of an array of floats of 16, 32 or 64 bits.
   *
   * @param reuse Whether the result may live in memory that the next call reuses: fresh memory is
   * what makes reading slow.
   * @throws {WeightsMismatchError} If the array holds no floats.
   * @throws {RangeError} If there is no such array.
   */
  floats(name: string, { reuse = false }: { readonly reuse?: boolean } = {}): Float32Array {
    const { dtype } = this.entry(name);
    return toFloats(name, dtype, () => this.bytes(name, { reuse }));
  }

  /** The bytes of an array of any type, little-endian; `reuse` as in {@link Safetensors.floats}. */
  bytes(name: string, { reuse = false }: { readonly reuse?: boolean } = {}): Uint8Array {
    const { offset, byteLength } = this.entry(name);
    const bytes = reuse ? this.#reserve(byteLength) : new Uint8Array(byteLength);
    this.#source.read(offset, bytes);
    return bytes;
  }

  /**
   * The numbers of an array of U32.
   *
   * @throws {WeightsMismatchError} If the array holds something else.
   * @throws {RangeError} If there is no such array.
   */
  integers(name: string): Uint32Array {
    const { dtype, offset, byteLength } = this.entry(name);
    if (dtype !== "U32") {
      throw new WeightsMismatchError(`Cannot read "${name}" as U32: it holds ${dtype}`);
    }
    const bytes = new Uint8Array(byteLength);
    this.#source.read(offset, bytes);
    return new Uint32Array(swapOnBigEndian(bytes, 4).buffer);
  }

  #reserve(bytes: number): Uint8Array {
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(bytes);
    return this.#scratch.subarray(0, bytes);
  }
}

/** Memory as a source of bytes. */
function sourceOf(memory: Uint8Array): ByteSource {
  return {
    size: memory.length,
    read: (offset, into) => into.set(memory.subarray(offset, offset + into.length)),
  };
}

/**
 * Checks that the arrays fill the rest of the file without gaps or overlaps, each as long as its
 * shape and type say. Ranges come relative to `start` and leave relative to the file.
 */
function checkEntries(
  relative: ReadonlyMap<string, SafetensorsEntry>,
  start: number,
  size: number,
): Map<string, SafetensorsEntry> {
  const byPosition = [...relative].sort(([, a], [, b]) =>
    a.offset - b.offset || a.byteLength - b.byteLength
  );
  let end = 0;
  for (const [name, { dtype, shape, offset, byteLength }] of byPosition) {
    const expected = shape.reduce((bytes, length) => bytes * length, SAFETENSORS_TYPES[dtype]);
    if (expected !== byteLength) {
      throw broken(
        `${quoted(name)} is ${dtype} [${
          shape.join(", ")
        }], ${expected} bytes, and has ${byteLength}`,
      );
    }
    if (offset !== end) {
      throw broken(
        `${
          quoted(name)
        } starts at byte ${offset} of the data, where ${end} was expected: arrays overlap or leave a gap`,
      );
    }
    end = offset + byteLength;
  }
  if (start + end !== size) {
    throw broken(`its arrays end at byte ${start + end} and the file has ${size}`);
  }
  return new Map(
    [...relative].map(([name, entry]) => [name, { ...entry, offset: entry.offset + start }]),
  );
}

/** An array to write. */
export interface SafetensorsArray {
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: SafetensorsType;
}

/**
 * The first bytes of a file: length and header, padded to a multiple of 8. The arrays follow in the
 * order given, little-endian, without gaps; {@link arrayBytes} makes their bytes.
 *
 * @throws {TypeError} If a name is `__metadata__`.
 */
export function safetensorsHeader(
  arrays: Iterable<readonly [name: string, array: SafetensorsArray]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = new Set<string>();
  const fields = [`"__metadata__":${JSON.stringify({ format: "pt", ...metadata })}`];
  let end = 0;
  for (const [name, { shape, dtype }] of arrays) {
    if (name === "__metadata__" || names.has(name)) {
      throw new TypeError(`Cannot write an array "${name}": the name is taken`);
    }
    names.add(name);
    const start = end;
    end += shape.reduce((bytes, length) => bytes * length, SAFETENSORS_TYPES[dtype]);
    const entry = { dtype, shape, data_offsets: [start, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(text, 8);
  return bytes;
}

/** Little-endian bytes of numbers; shares their memory where the machine is little-endian. */
export function arrayBytes(data: Float32Array | Uint32Array): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return BIG_ENDIAN ? swapOnBigEndian(bytes.slice(), 4) : bytes;
}

/**
 * A whole file in memory.
 *
 * @throws {TypeError} If numbers and shape differ in length.
 */
export function writeSafetensors(
  arrays: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array | Uint32Array }
  >,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const table = [...arrays].map(([name, { shape, data }]) => {
    if (shape.reduce((size, length) => size * length, 1) !== data.length) {
      throw new TypeError(
        `Cannot write ${data.length} numbers as "${name}" of shape [${shape.join(", ")}]`,
      );
    }
    return [name, { shape, dtype: data instanceof Float32Array ? "F32" : "U32" }] as const;
  });
  const parts = [safetensorsHeader(table, metadata)];
  for (const { data } of arrays.values()) parts.push(arrayBytes(data));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function broken(reason: string): WeightsFileError {
  return new WeightsFileError("the safetensors file", reason);
}
