/**
 * The fingerprint of data sets: names, sizes and digests of all their files, by which a run that goes on
 * notices that its data have changed.
 *
 * Reading all files takes a second for one or two gigabytes. So digests of large data sets are taken on a
 * thread of its own while a run trains, and where files have the sizes and the times that a checkpoint knows,
 * its digests are believed, as by version control.
 *
 * @module
 */
import { join, relative } from "node:path";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { digestOfFile } from "../base/digest.ts";
import { exists } from "../base/folders.ts";
import { CLASS_FILE } from "./class_file.ts";
import type { OpenedDataset } from "./dataset.ts";
import type { HashReply } from "./hash_worker.ts";

/**
 * A file as a checkpoint knows it: its path below the data set's folder, its bytes, the times of its last
 * changes, and its digest, null where the run had not come to read it.
 */
export type KnownFile = readonly [
  path: string,
  bytes: number,
  times: string,
  digest: string | null,
];

/** The files of data sets by the sets' names. */
export type KnownData = Readonly<Record<string, readonly KnownFile[]>>;

/** A file as it is now. */
interface FoundFile {
  readonly path: string;
  readonly bytes: number;
  readonly times: string;
  digest: string | null;
}

/** Hexadecimal digits of a SHA-256 that are kept. */
const DIGITS = 32;

/** Most files that a checkpoint is to know, so that its header stays short: more are not compared. */
const MOST_FILES = 250_000;

/** Bytes that are read at once, in a tenth of a second; more are read on a thread of its own. */
const READ_AT_ONCE = 128 * 2 ** 20;

/** The files of the data sets of a run. Close it, or its thread keeps the process alive. */
export class Fingerprint implements Disposable {
  readonly #sets: ReadonlyMap<string, { readonly root: string; readonly files: FoundFile[] }>;
  #worker: Worker | null = null;
  #finished: Promise<void> = Promise.resolve();

  /**
   * Notes names, sizes and times.
   *
   * @throws {DataError} If a file cannot be found.
   */
  constructor(sets: Readonly<Record<string, OpenedDataset>>) {
    this.#sets = new Map(
      Object.entries(sets).map(([name, set]) => [name, { root: set.root, files: filesOf(set) }]),
    );
  }

  /** What a checkpoint is to know; null of data sets with more than 250,000 files. */
  get known(): KnownData | null {
    const count = [...this.#sets.values()].reduce((sum, { files }) => sum + files.length, 0);
    if (count > MOST_FILES) return null;
    return Object.fromEntries([...this.#sets].map(([name, { root, files }]) => [
      name,
      files.map(({ path, bytes, times, digest }): KnownFile => [
        relative(root, path),
        bytes,
        times,
        digest?.slice(0, DIGITS) ?? null,
      ]),
    ]));
  }

  /** The paths and bytes of all files, without what differs from one copy of the data to another. */
  get list(): string {
    return JSON.stringify([...this.#sets].map(([name, { root, files }]) => [
      name,
      ...files.map(({ path, bytes }) => [relative(root, path), bytes]),
    ]));
  }

  /**
   * Compares with what a checkpoint knows, and takes over its digests of files that are the same.
   *
   * @param reading Hears how many files are read, as they have other times.
   * @returns The first difference, to stand after "as" in a sentence; null where there is none.
   * @throws {DataError} If a file cannot be read.
   */
  differenceFrom(known: KnownData, reading: (files: number) => void): string | null {
    const same: [FoundFile, KnownFile][] = [];
    for (const [name, { root, files }] of this.#sets) {
      if (!known[name]) continue; // another version noted no such set
      const before = new Map(known[name].map((file) => [file[0], file]));
      for (const file of files) {
        const path = relative(root, file.path);
        const then = before.get(path);
        before.delete(path);
        if (!then) return `${file.path} is new`;
        if (then[1] !== file.bytes) {
          return `${file.path} has ${file.bytes} bytes and had ${then[1]}`;
        }
        same.push([file, then]);
      }
      for (const path of before.keys()) return `${join(root, path)} is missing`;
    }
    const touched = same.filter(([{ times }, then]) => then[3] !== null && times !== then[2]);
    if (touched.length > 0) reading(touched.length);
    for (const [file, then] of touched) {
      file.digest = read(file.path);
      if (!file.digest.startsWith(then[3] as string)) return `${file.path} has another content`;
    }
    for (const [file, then] of same) file.digest ??= then[3];
    return null;
  }

  /** Starts to read the files whose digests are not known. */
  start({ atOnce = READ_AT_ONCE }: { readonly atOnce?: number } = {}): void {
    const files = [...this.#sets.values()].flatMap(({ files }) => files)
      .filter(({ digest }) => digest === null);
    if (files.reduce((sum, { bytes }) => sum + bytes, 0) <= atOnce) {
      for (const file of files) file.digest = read(file.path);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#finished = promise;
    this.#worker = new Worker(new URL("./hash_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { at, digest } }: MessageEvent<HashReply>) => {
      files[at].digest = digest;
      if (at === files.length - 1) resolve();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault(); // names and sizes are known all the same
      resolve();
    };
    this.#worker.postMessage(files.map(({ path }) => path));
  }

  /** Waits until all digests are known, but for no longer than so many milliseconds. */
  async settle(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.#finished, promise]);
    clearTimeout(timer);
  }

  /** Ends the thread. */
  [Symbol.dispose](): void {
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Images, labels where they are read, and the file that says what labels mean. */
function filesOf({ root, layout, items, trainIds }: OpenedDataset): FoundFile[] {
  const classFile = join(root, CLASS_FILE);
  return [
    ...(layout.classes === null && trainIds && exists(classFile) ? [classFile] : []),
    ...items.map(({ image }) => image),
    ...items.flatMap(({ label }) => label ?? []),
  ].map((path) => {
    const { size, mtime, ctime } = attempt(path, () => Deno.statSync(path));
    const times = `${mtime?.getTime() ?? ""} ${ctime?.getTime() ?? ""}`;
    return { path, bytes: size, times, digest: null };
  });
}

function read(path: string): string {
  return attempt(path, () => digestOfFile(path));
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new DataError(
      `Cannot read ${path} as ${
        describeFailure(error)
      }; restore the file or correct its permissions`,
      { cause: error },
    );
  }
}
