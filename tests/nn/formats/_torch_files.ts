// PyTorch files made by hand, so that they can lie.

import { builtinModule } from "../../../kernels/runtime/builtin.ts";
import type { ByteSource } from "../../../nn/formats/weights_file.ts";

const zlib = builtinModule("node:zlib");

/** A test that inflates or compares checksums: it is ignored, and says why, in browsers. */
export function testWithZlib(name: string, fn: () => void): void {
  Deno.test({ name: zlib ? name : `${name}: browsers have no zlib`, ignore: !zlib, fn });
}

/** For {@link testWithZlib}. */
export function deflated(data: Uint8Array): Uint8Array {
  return new Uint8Array(zlib!.deflateRawSync(data));
}

/** Memory as a source of bytes. */
export function sourceOf(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
  };
}

/** A file for {@link zipOf}, and the lies told about it. */
export interface ZipItem {
  readonly name: string;
  readonly data: Uint8Array;
  readonly deflate?: boolean;
  readonly flags?: number;
  readonly method?: number;
  readonly claimedBytes?: number;
  readonly crc?: number;
  /** Uses the 64-bit fields of the table of contents. */
  readonly zip64?: boolean;
  /** Points to the local header of the item of that index. */
  readonly sharesHeaderOf?: number;
}

/** A zip file of items. */
export function zipOf(items: readonly ZipItem[], options: { zip64End?: boolean } = {}): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  const headers: number[] = [];
  let at = 0;
  const add = (part: Uint8Array) => {
    parts.push(part);
    at += part.length;
  };
  for (const item of items) {
    const { name, data, deflate = false, flags = 0, zip64 = false } = item;
    const method = item.method ?? (deflate ? 8 : 0);
    const stored = deflate ? deflated(data) : data;
    const crc = item.crc ?? zlib?.crc32(data) ?? 0;
    const size = item.claimedBytes ?? data.length;
    const path = new TextEncoder().encode(name);
    headers.push(at);
    const header = headers[item.sharesHeaderOf ?? headers.length - 1];
    add(
      record(
        "IHHHHHIIIHH",
        0x04034b50,
        20,
        flags,
        method,
        0,
        0,
        crc,
        stored.length,
        size,
        path.length,
        0,
      ),
    );
    add(path);
    add(stored);
    const sizes = zip64 ? [0xffffffff, 0xffffffff] : [stored.length, size];
    const extra = zip64 ? record("HHQQQ", 1, 24, size, stored.length, header) : new Uint8Array();
    directory.push(
      record(
        "IHHHHHHIIIHHHHHII",
        0x02014b50,
        20,
        20,
        flags,
        method,
        0,
        0,
        crc,
        ...sizes,
        path.length,
        extra.length,
        0,
        0,
        0,
        0,
        zip64 ? 0xffffffff : header,
      ),
      path,
      extra,
    );
  }
  const start = at;
  directory.forEach(add);
  const bytes = at - start;
  if (options.zip64End) {
    const end = at;
    add(
      record("IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, items.length, items.length, bytes, start),
    );
    add(record("IIQI", 0x07064b50, 0, end, 1));
    add(record("IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0));
  } else {
    add(record("IHHHHIIH", 0x06054b50, 0, 0, items.length, items.length, bytes, start, 0));
  }
  return join(parts);
}

/** Little-endian integers: H of 16 bits, I of 32, Q of 64. */
function record(format: string, ...values: number[]): Uint8Array {
  const width = { H: 2, I: 4, Q: 8 } as const;
  const letters = [...format] as (keyof typeof width)[];
  const view = new DataView(
    new ArrayBuffer(letters.reduce((sum, letter) => sum + width[letter], 0)),
  );
  let at = 0;
  letters.forEach((letter, index) => {
    if (letter === "H") view.setUint16(at, values[index], true);
    else if (letter === "I") view.setUint32(at, values[index], true);
    else view.setBigUint64(at, BigInt(values[index]), true);
    at += width[letter];
  });
  return new Uint8Array(view.buffer);
}

/** Pieces of memory as one. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A pickle from opcodes: characters for themselves, numbers for bytes. */
export function pickleOf(...parts: (string | number | Uint8Array)[]): Uint8Array {
  return join(
    parts.map((part) =>
      typeof part === "number"
        ? Uint8Array.of(part)
        : typeof part === "string"
        ? new TextEncoder().encode(part)
        : part
    ),
  );
}

/** The opcode that pushes a text. */
export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return join([Uint8Array.of(0x8c, bytes.length), bytes]);
}

/** The opcodes that push an integer, of 64 bits. */
export function integer(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(10);
  bytes.set([0x8a, 8]);
  new DataView(bytes.buffer).setBigInt64(2, BigInt(value), true);
  return bytes;
}

/** The opcodes that push a tensor of a storage of 32-bit floats. */
export function tensor(
  { key = "0", elements = 4, offset = 0, shape = [4], strides = [1], type = "FloatStorage" }: {
    key?: string;
    elements?: number;
    offset?: number;
    shape?: (number | bigint)[];
    strides?: (number | bigint)[];
    type?: string;
  },
): Uint8Array {
  return pickleOf(
    "ctorch._utils\n_rebuild_tensor_v2\n((",
    text("storage"),
    `ctorch\n${type}\n`,
    text(key),
    text("cpu"),
    integer(elements),
    "tQ", // the persistent id
    integer(offset),
    "(",
    ...shape.map(integer),
    "t(",
    ...strides.map(integer),
    "t",
    0x89, // requires no gradient
    "}tR",
  );
}

/** A pickle of a dictionary; the values are opcodes. */
export function dictionary(items: Record<string, Uint8Array>): Uint8Array {
  const pairs = Object.entries(items).flatMap(([key, value]) => [text(key), value]);
  return pickleOf(0x80, 2, "}(", ...pairs, "u.");
}

/** A PyTorch file of a pickle and its storages. */
export function torchFile(
  pickle: Uint8Array,
  storages: Record<string, Uint8Array> = {
    "0": new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer),
  },
  lies: Partial<ZipItem> = {},
): Uint8Array {
  return zipOf([
    { name: "a/data.pkl", data: pickle },
    ...Object.entries(storages).map(([key, data]) => ({ name: `a/data/${key}`, data, ...lies })),
  ]);
}
