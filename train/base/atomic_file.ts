/**
 * Files whose path always shows either the old or the whole new content, also after a crash or a
 * power cut: written beside it, fsynced, renamed, and the folder fsynced.
 *
 * @module
 */
import { dirname } from "node:path";
import { DataError } from "./data_error.ts";
import { onDisk } from "./refusal.ts";

/**
 * A file that appears at its path when it is committed; disposed before that, it leaves nothing.
 */
export class AtomicFile implements Disposable {
  readonly #path: string;
  readonly #temporary: string;
  #file: Deno.FsFile | null;

  /** Opens the temporary file. @throws {DataError} If that cannot be done. */
  constructor(path: string) {
    checkReplaceable(path);
    this.#path = path;
    this.#temporary = `${path}.partial`;
    const options = { write: true, create: true, truncate: true };
    this.#file = this.#attempt(() => Deno.openSync(this.#temporary, options));
  }

  /**
   * Writes at the end, or over the bytes at `offset`.
   *
   * @throws {DataError} Such as on a full disk.
   */
  write(bytes: Uint8Array, offset?: number): void {
    const file = this.#opened();
    this.#attempt(() => {
      if (offset !== undefined) file.seekSync(offset, Deno.SeekMode.Start);
      writeWhole(file, bytes);
      if (offset !== undefined) file.seekSync(0, Deno.SeekMode.End);
    });
  }

  /** Puts the file in its place. @throws {DataError} If that cannot be done. */
  commit(): void {
    const file = this.#opened();
    this.#attempt(() => {
      file.syncSync();
      Deno.renameSync(this.#temporary, this.#path);
      file.close();
      this.#file = null;
      syncFolder(dirname(this.#path));
    });
  }

  /** Removes the temporary file, unless it was committed. */
  [Symbol.dispose](): void {
    if (!this.#file) return;
    this.#file.close();
    this.#file = null;
    removeIfPossible(this.#temporary);
  }

  #opened(): Deno.FsFile {
    if (!this.#file) throw new TypeError(`Cannot write ${this.#path} after it was closed`);
    return this.#file;
  }

  #attempt<T>(action: () => T): T {
    return onDisk(`write ${this.#path}`, "make room or choose another folder", action);
  }
}

/** Refuses what a rename would replace that is no file: a folder, a device, a pipe. */
function checkReplaceable(path: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.statSync(path);
  } catch {
    return; // nothing is there, or opening the file beside it will say what is wrong
  }
  if (found.isFile) return;
  const what = found.isDirectory ? "folder" : "device or a pipe";
  throw new DataError(
    `Cannot write ${path} as it is a ${what}: expected a file, or nothing; choose another path`,
  );
}

/**
 * Writes a whole file atomically.
 *
 * @param parts The content, in order.
 * @throws {DataError} If the file cannot be written; what was there before stays.
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array>): void {
  using file = new AtomicFile(path);
  for (const part of parts) file.write(part);
  file.commit();
}

/**
 * Finds out whether a file can be written where that comes only after long work; leaves it as it is.
 *
 * @throws {DataError} If it cannot.
 */
export function checkWritable(path: string): void {
  new AtomicFile(path)[Symbol.dispose]();
}

/** Writes all of `bytes`: one `writeSync` may take only a part. */
export function writeWhole(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/**
 * Removes a file or an empty folder, if it is there: for clearing up after an error that says more.
 */
export function removeIfPossible(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was never made, or someone else uses it.
  }
}

/** Without this a rename may be undone by a power cut. Windows has no folder handles to sync. */
function syncFolder(path: string): void {
  if (Deno.build.os === "windows") return;
  using folder = Deno.openSync(path);
  folder.syncSync();
}
