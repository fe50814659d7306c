// Zip files, as far as PyTorch's checkpoints need them: the table of contents at the end, ZIP64,
// and entries that are stored or deflated. Nothing is believed before it was compared with the
// file.

import { quoted, WeightsFileError } from "./weights_error.ts";
import type { ByteSource } from "./weights_file.ts";

/** A file in a zip file. */
export interface ZipEntry {
  /** Path inside the zip file. */
  readonly name: string;
  /** First byte of its data in the zip file. */
  readonly offset: number;
  /** Bytes of its data in the zip file. */
  readonly storedBytes: number;
  /** Bytes of its content. */
  readonly byteLength: number;
  /** CRC-32 of its content. */
  readonly crc: number;
  /** Whether the data is deflated; it is the content itself otherwise. */
  readonly deflated: boolean;
}

const END = { signature: 0x06054b50, bytes: 22 };
const END64 = { signature: 0x06064b50, bytes: 56 };
const LOCATOR64 = { signature: 0x07064b50, bytes: 20 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const LOCAL = { signature: 0x04034b50, bytes: 30 };
/** A comment may follow the end record. */
const MAX_COMMENT = 0xffff;
/** A hundred thousand entries; checkpoints have a few thousand. */
const MAX_DIRECTORY_BYTES = 8 * 2 ** 20;
/**
 * What an entry may inflate to: so many bytes whatever it is, as tensors of zeros do, and beyond that
 * so many times its own, as no other weights do.
 */
const [INFLATED_BYTES, MAX_EXPANSION] = [64 * 2 ** 20, 16];
const UNKNOWN16 = 0xffff;
const UNKNOWN32 = 0xffffffff;

/**
 * Reads the table of contents.
 *
 * @throws {WeightsFileError} If it is not sound: truncated, entries that overlap or leave the file,
 * sizes that cannot be, names that come twice, encryption, or a compression other than deflate.
 */
export function readZip(source: ByteSource): Map<string, ZipEntry> {
  const { count, offset, bytes } = findDirectory(source);
  const directory = readView(source, offset, bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + CENTRAL.bytes > bytes || directory.getUint32(at, true) !== CENTRAL.signature) {
      throw broken(`entry ${index} of its table of contents is not one`);
    }
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      directory.getUint16(at + field, true)
    );
    const end = at + CENTRAL.bytes + nameBytes + extraBytes + commentBytes;
    if (end > bytes) throw broken(`entry ${index} leaves its table of contents`);
    const entry = readEntry(source, directory, at, { nameBytes, extraBytes }, offset);
    if (entries.has(entry.name)) throw broken(`it holds ${quoted(entry.name)} twice`);
    entries.set(entry.name, entry);
    at = end;
  }
  checkOverlaps([...entries.values()]);
  return entries;
}

/** Finds the end record, from the end on, and the ZIP64 one before it where there is one. */
function findDirectory(source: ByteSource): { count: number; offset: number; bytes: number } {
  const tailBytes = Math.min(source.size, END.bytes + MAX_COMMENT);
  const start = source.size - tailBytes;
  const tail = readView(source, start, tailBytes);
  let at = tailBytes - END.bytes;
  const isEnd = () =>
    tail.getUint32(at, true) === END.signature &&
    at + END.bytes + tail.getUint16(at + 20, true) === tailBytes;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) throw broken("its end is missing: it was truncated, or is no zip file");
  let [count, bytes, offset] = [
    tail.getUint16(at + 10, true),
    tail.getUint32(at + 12, true),
    tail.getUint32(at + 16, true),
  ];
  let end = start + at;
  if (count === UNKNOWN16 || bytes === UNKNOWN32 || offset === UNKNOWN32) {
    const locator = readView(source, end - LOCATOR64.bytes, LOCATOR64.bytes);
    if (locator.getUint32(0, true) !== LOCATOR64.signature) {
      throw broken("its ZIP64 end is missing");
    }
    const position = integer(locator, 8);
    if (position + END64.bytes > end) throw broken("its ZIP64 end lies outside of it");
    const record = readView(source, position, END64.bytes);
    if (record.getUint32(0, true) !== END64.signature) throw broken("its ZIP64 end is missing");
    [count, bytes, offset] = [integer(record, 32), integer(record, 40), integer(record, 48)];
    end = position;
  }
  if (offset + bytes > end || count * CENTRAL.bytes > bytes) {
    throw broken(
      `its table of contents claims ${count} entries in ${bytes} bytes from ${offset}, and the file ` +
        `has ${source.size}`,
    );
  }
  if (bytes > MAX_DIRECTORY_BYTES) {
    throw broken(`its table of contents takes ${bytes} bytes, and ${MAX_DIRECTORY_BYTES} at most`);
  }
  return { count, offset, bytes };
}

function readEntry(
  source: ByteSource,
  directory: DataView,
  at: number,
  { nameBytes, extraBytes }: { nameBytes: number; extraBytes: number },
  limit: number,
): ZipEntry {
  const name = decodeName(directory, at + CENTRAL.bytes, nameBytes);
  const fail = (reason: string) => broken(`its entry ${quoted(name)} ${reason}`);
  const flags = directory.getUint16(at + 8, true);
  const method = directory.getUint16(at + 10, true);
  if (flags & 1) throw fail("is encrypted");
  if (method !== 0 && method !== 8) throw fail(`is compressed by method ${method}`);
  const sizes = {
    byteLength: directory.getUint32(at + 24, true),
    storedBytes: directory.getUint32(at + 20, true),
    header: directory.getUint32(at + 42, true),
  };
  readZip64Sizes(directory, at + CENTRAL.bytes + nameBytes, extraBytes, sizes, fail);
  const { byteLength, storedBytes, header } = sizes;
  if (header + LOCAL.bytes > limit) throw fail(`starts at byte ${header}, outside of the file`);
  const local = readView(source, header, LOCAL.bytes);
  if (local.getUint32(0, true) !== LOCAL.signature) throw fail(`is not at byte ${header}`);
  const offset = header + LOCAL.bytes + local.getUint16(26, true) + local.getUint16(28, true);
  if (offset + storedBytes > limit) throw fail(`claims ${storedBytes} bytes, more than there are`);
  if (method === 0 && byteLength !== storedBytes) {
    throw fail(`is stored as ${storedBytes} bytes and claims ${byteLength}`);
  }
  if (byteLength > Math.max(INFLATED_BYTES, MAX_EXPANSION * storedBytes)) {
    throw fail(`claims to inflate from ${storedBytes} to ${byteLength} bytes`);
  }
  const crc = directory.getUint32(at + 16, true);
  return { name, offset, storedBytes, byteLength, crc, deflated: method === 8 };
}

/**
 * Replaces the sizes that do not fit 32 bits by those of the extra field, in the order it has them.
 */
function readZip64Sizes(
  directory: DataView,
  at: number,
  bytes: number,
  sizes: Record<"byteLength" | "storedBytes" | "header", number>,
  fail: (reason: string) => WeightsFileError,
): void {
  const wanted = (["byteLength", "storedBytes", "header"] as const)
    .filter((field) => sizes[field] === UNKNOWN32);
  if (wanted.length === 0) return;
  for (let next = at; next + 4 <= at + bytes;) {
    const length = directory.getUint16(next + 2, true);
    if (directory.getUint16(next, true) === 1) {
      if (length < 8 * wanted.length || next + 4 + length > at + bytes) break;
      wanted.forEach((field, index) => sizes[field] = integer(directory, next + 4 + 8 * index));
      return;
    }
    next += 4 + length;
  }
  throw fail("lacks its 64-bit sizes");
}

/** Overlapping entries are how a small file claims to be a huge one. */
function checkOverlaps(entries: ZipEntry[]): void {
  entries.sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const { name, offset, storedBytes } of entries) {
    if (offset < end) throw broken(`its entry ${quoted(name)} overlaps the one before it`);
    end = offset + storedBytes;
  }
}

function decodeName(view: DataView, at: number, bytes: number): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, bytes));
}

function readView(source: ByteSource, offset: number, bytes: number): DataView {
  if (offset < 0 || offset + bytes > source.size) throw broken("it is truncated");
  const memory = new Uint8Array(bytes);
  source.read(offset, memory);
  return new DataView(memory.buffer);
}

/** A 64-bit integer; above 2⁵³ it becomes so large that every check of a range refuses it. */
function integer(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function broken(reason: string): WeightsFileError {
  return new WeightsFileError("the zip file", reason);
}
