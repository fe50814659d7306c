// A file as a source of bytes, read where it is asked for.

import { WeightsFileError } from "../../nn/formats/weights_error.ts";
import type { ByteSource } from "../../nn/formats/weights_file.ts";

/**
 * Opens a regular file to read. Of anything else no more than its name is looked at: to open a pipe
 * may wait for ever, and a device may never end. What the operating system throws is passed on.
 */
export function openFile(path: string): Deno.FsFile {
  const info = Deno.statSync(path);
  if (info.isDirectory) throw new Deno.errors.IsADirectory("it is a folder");
  if (!info.isFile) {
    const kind = info.isFifo ? "a named pipe" : info.isSocket ? "a socket" : "a device";
    throw new Deno.errors.NotSupported(`it is ${kind} and no regular file`);
  }
  return Deno.openSync(path);
}

/**
 * The text of a small regular file. What the operating system throws is passed on.
 *
 * @param most Bytes that it may have.
 */
export function readText(path: string, most: number): string {
  using file = openFile(path);
  const { size } = file.statSync();
  if (size > most) {
    throw new Deno.errors.NotSupported(`it has ${size} bytes: expected ${most} at most`);
  }
  return new TextDecoder().decode(readUpTo(file, size));
}

/** The bytes from where the file stands on: `limit`, or as many as there are. */
export function readUpTo(file: Deno.FsFile, limit: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(limit);
  let count = 0;
  while (count < limit) {
    const read = file.readSync(bytes.subarray(count));
    if (read === null) break;
    count += read;
  }
  return bytes.subarray(0, count);
}

/** An open file. */
export class FileSource implements ByteSource, Disposable {
  /** Length in bytes. */
  readonly size: number;
  readonly #file: Deno.FsFile;

  /** Opens a regular file; what the operating system throws is passed on. */
  constructor(path: string) {
    this.#file = openFile(path);
    this.size = this.#file.statSync().size;
  }

  /** Fills `into` with the bytes from `offset`. @throws {WeightsFileError} If the file ends before. */
  read(offset: number, into: Uint8Array): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < into.length;) {
      const count = this.#file.readSync(into.subarray(at));
      if (count === null) {
        throw new WeightsFileError("the file", `it ends at byte ${offset + at} by now`);
      }
      at += count;
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
