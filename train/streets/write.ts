/**
 * Writes the benchmark as PNG files in the layouts of GTA5 (source) and Cityscapes (target).
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { writeWhole } from "../base/atomic_file.ts";
import { DataError } from "../base/data_error.ts";
import { describeFailure, isRefusal } from "../base/refusal.ts";
import { encodeImage, encodeLabel } from "../images/image.ts";
import { renderStreet, type StreetOptions } from "./render.ts";

/** How many images each split has. */
export interface StreetCounts {
  /** Labelled source images. */
  sourceTrain: number;
  /** Labelled source images that no training sees. */
  sourceVal: number;
  /** Target images to adapt to; their labels are written for oracles and pseudo-label accuracy. */
  targetTrain: number;
  /** Target images to measure on: what is reported. */
  targetVal: number;
  /** Target images to choose settings on, so that they are not chosen on what is reported. */
  targetChoose: number;
}

/** What to write. */
export interface StreetsOptions {
  /** The seed of the benchmark; it names the data, not a training run. */
  seed: number;
  /** Images by split. */
  counts: StreetCounts;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
  /** Called after every image. */
  onProgress?: (done: number, total: number) => void;
  /** Stops before the next image. */
  signal?: AbortSignal | undefined;
}

/** Raise it when the same options draw other images: folders of older versions are not reused. */
const VERSION = 1;

const MARKER = "streets.json";

/** How long a folder without a marker is taken for one that is just being made, in milliseconds. */
const ONE_HOUR = 3_600_000;

/**
 * Writes the benchmark to a folder, or returns at once if the folder already holds it with the same
 * parameters. The folder appears complete or not at all; several processes may write it at once. One that
 * an earlier version wrote, with fewer splits, gets what it lacks; what it has stays.
 *
 * @param directory Holds `source/` and `target/` afterwards; its parents are made.
 * @throws {DataError} If the folder holds something else or cannot be written.
 * @throws {RangeError} If a count is no whole number, or see {@link renderStreet}.
 * @throws The signal's reason, if it is aborted.
 */
export async function writeStreets(directory: string, options: StreetsOptions): Promise<void> {
  for (const [name, count] of Object.entries(options.counts)) {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`Cannot write streets as ${name} is ${count}: expected 0 or more`);
    }
  }
  const parameters = JSON.stringify({
    benchmark: "streets",
    version: VERSION,
    ...describe(options),
  });
  await removeAbandoned(directory);
  const found = await stateOf(directory, parameters, options);
  if (found === "complete") return;

  const parent = dirname(directory);
  const temporary = join(parent, `.${basename(directory)}-${crypto.randomUUID()}.partial`);
  try {
    await Deno.mkdir(temporary, { recursive: true });
    // Locked for as long as this process lives, so that others leave the folder alone.
    using marker = await Deno.open(join(temporary, MARKER), { write: true, createNew: true });
    await marker.lock(true);
    await drawInto(temporary, options);
    writeWhole(marker, new TextEncoder().encode(parameters + "\n"));
    if (Deno.build.os === "windows") marker.close(); // which renames no folder with an open file
    if (found === "earlier") await moveInto(directory, temporary, options);
    else await Deno.rename(temporary, directory);
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    if (!isRefusal(error)) throw error;
    // Another process has been faster.
    if (await stateOf(directory, parameters, options) === "complete") return;
    throw failure(directory, error);
  }
}

/**
 * Moves what was drawn into a folder that an earlier version wrote: files one by one, as others may read
 * what is there, and the marker last, so that one that is interrupted is begun again.
 */
async function moveInto(
  directory: string,
  temporary: string,
  { counts }: StreetsOptions,
): Promise<void> {
  const files = filesOf(counts).flatMap(({ image, label }) => [image, label]);
  for (const name of new Set(files.map(dirname))) {
    await Deno.mkdir(join(directory, name), { recursive: true });
  }
  for (const name of [...files, MARKER]) {
    if (name !== MARKER && await exists(join(directory, name))) continue;
    await Deno.rename(join(temporary, name), join(directory, name));
  }
  await Deno.remove(temporary, { recursive: true });
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

async function drawInto(folder: string, options: StreetsOptions): Promise<void> {
  const { seed, counts, width, height, onProgress, signal } = options;
  const files = filesOf(counts);
  const folders = new Set(files.flatMap(({ image, label }) => [dirname(image), dirname(label)]));
  for (const name of folders) await Deno.mkdir(join(folder, name), { recursive: true });
  let done = 0;
  for (const { image, label, domain, split, index } of files) {
    signal?.throwIfAborted();
    const street = renderStreet({ seed, domain, split, index, width, height });
    await Deno.writeFile(
      join(folder, image),
      encodeImage({ data: street.image, width, height }),
    );
    await Deno.writeFile(
      join(folder, label),
      encodeLabel({ data: street.label, width, height }),
    );
    onProgress?.(++done, files.length);
  }
}

/**
 * Removes what processes have left beside the folder that were killed while they wrote it. A marker that
 * is locked is that of one at work, and a folder without one that of one which has just begun.
 */
async function removeAbandoned(directory: string): Promise<void> {
  const parent = dirname(directory);
  const prefix = `.${basename(directory)}-`;
  try {
    for await (const { name, isDirectory } of Deno.readDir(parent)) {
      if (!isDirectory || !name.startsWith(prefix)) continue;
      if (!/^[\da-f-]{36}\.partial$/.test(name.slice(prefix.length))) continue;
      const path = join(parent, name);
      if (await isAbandoned(path)) await Deno.remove(path, { recursive: true });
    }
  } catch {
    // There is no folder yet, or another process was faster: nothing depends on it.
  }
}

async function isAbandoned(folder: string): Promise<boolean> {
  try {
    using marker = await Deno.open(join(folder, MARKER), { read: true, write: true });
    return await marker.tryLock(true);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return false;
    const { mtime } = await Deno.stat(folder);
    return mtime !== null && Date.now() - mtime.getTime() > ONE_HOUR;
  }
}

function failure(directory: string, error: unknown): DataError {
  return new DataError(
    `Cannot write streets to ${directory} as ${describeFailure(error)}; ` +
      `make room or choose another folder`,
    { cause: error },
  );
}

function describe({ seed, counts, width, height }: StreetsOptions): Record<string, unknown> {
  const { sourceTrain, targetTrain, targetVal, sourceVal, targetChoose } = counts;
  return { seed, width, height, sourceTrain, targetTrain, targetVal, sourceVal, targetChoose };
}

/** What a folder holds: all of this benchmark, what an earlier version wrote of it, or nothing. */
async function stateOf(
  directory: string,
  parameters: string,
  options: StreetsOptions,
): Promise<"complete" | "earlier" | "free"> {
  try {
    const found = await Deno.readTextFile(join(directory, MARKER));
    if (found.trim() === parameters) return "complete";
    if (isEarlier(found, options)) return "earlier";
    throw new DataError(
      `Cannot write streets to ${directory} as it holds streets with other parameters: ` +
        `found ${found.trim()}, expected ${parameters}; remove it or choose another folder`,
    );
  } catch (error) {
    if (error instanceof DataError) throw error;
  }
  try {
    for await (const { name } of Deno.readDir(directory)) {
      throw new DataError(
        `Cannot write streets to ${directory} as it is occupied by ${name}: ` +
          `expected a new or empty folder; choose another one`,
      );
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    if (!(error instanceof Deno.errors.NotFound)) throw failure(directory, error);
  }
  return "free";
}

/** Whether a marker is that of the same images, written when there were fewer splits, or fewer images. */
function isEarlier(marker: string, { seed, width, height, counts }: StreetsOptions): boolean {
  let found: Record<string, unknown>;
  try {
    found = JSON.parse(marker);
  } catch {
    return false;
  }
  const same = { version: VERSION, seed, width, height };
  const { sourceTrain, targetTrain, targetVal } = counts;
  const most = { sourceTrain, targetTrain, targetVal };
  return !("targetChoose" in found) &&
    Object.entries(same).every(([key, value]) => found[key] === value) &&
    Object.entries(most).every(([key, count]) => Number(found[key]) <= count);
}

type Item = Pick<StreetOptions, "domain" | "split" | "index"> & { image: string; label: string };

function filesOf(counts: StreetCounts): Item[] {
  const range = (count: number): number[] => [...Array(count).keys()];
  const targets = (split: Item["split"], count: number): Item[] =>
    range(count).map((index) => {
      const name = `streets/streets_${String(index + 1).padStart(6, "0")}_000000`;
      return {
        domain: "target",
        split,
        index,
        image: `target/leftImg8bit/${split}/${name}_leftImg8bit.png`,
        label: `target/gtFine/${split}/${name}_gtFine_labelIds.png`,
      };
    });
  const sources = (split: Item["split"], count: number): Item[] =>
    range(count).map((index) => {
      const name = `${split === "train" ? "" : `${split}/`}${
        String(index + 1).padStart(5, "0")
      }.png`;
      const [image, label] = [`source/images/${name}`, `source/labels/${name}`];
      return { domain: "source", split, index, image, label };
    });
  return [
    ...sources("train", counts.sourceTrain),
    ...targets("train", counts.targetTrain),
    ...targets("val", counts.targetVal),
    ...sources("val", counts.sourceVal),
    ...targets("choose", counts.targetChoose),
  ];
}
