/**
 * Inspection of a data set before a run depends on it: opens every file, counts sizes and classes,
 * and keeps every problem instead of stopping at the first.
 *
 * @module
 */
import type { ClassSet } from "../data/class_set.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import { DataError, oneLine, shortList } from "../base/data_error.ts";
import { askThread, checkThreadsCanStart } from "../base/thread.ts";
import { spread } from "../base/spread.ts";
import { type DatasetItem, listDataset, type Listing } from "../data/dataset.ts";
import type { InspectAnswer, InspectReply, InspectRequest } from "./inspect_worker.ts";
import {
  describeKnown,
  describeValue,
  type LabelCode,
  trainIdsByValue,
} from "../data/label_code.ts";
import type { LayoutRecord } from "../data/layouts.ts";
import { partsTooSmall, sentenceOf } from "../evaluation/causes.ts";
import { PartSizes } from "../data/part_sizes.ts";
import { classesOf, findFiles, hasLabels, type Place, splitsOf } from "../data/place.ts";

/** What to inspect. */
export interface InspectOptions {
  /** The folder of the data set. */
  readonly root: string;
  /** How the files lie in it. */
  readonly layout: LayoutRecord;
  /** The only split to look at; all that there are unless given. */
  readonly split?: string | undefined;
  /** Images of a split that are opened, spread evenly over it; all unless given. */
  readonly limit?: number | undefined;
  /** Threads that decode; one per processor, 8 at most, unless given. */
  readonly workers?: number | undefined;
  /** Called after every image. */
  readonly onImage?: ((done: number, total: number) => void) | undefined;
  /** Stops before the next image. */
  readonly signal?: AbortSignal | undefined;
}

/** What was found in one split. */
export interface SplitReport {
  /** Its name; empty where the layout has no splits. */
  readonly split: string;
  /** Images there are. */
  readonly images: number;
  /** Images with a label. */
  readonly labelled: number;
  /** The images that were opened. */
  readonly items: readonly DatasetItem[];
  /** How the label files hold label ids. */
  readonly code: LabelCode;
  /** Images by size, `2048×1024`, the most frequent first. */
  readonly sizes: Readonly<Record<string, number>>;
  /** The long side of the most frequent size; 0 where no image could be read. */
  readonly longSide: number;
  /** Labelled pixels of each class, in the order of the classes. */
  readonly classPixels: readonly number[];
  /** Labels that each class occurs in. */
  readonly classLabels: readonly number[];
  /**
   * Size of each class's typical part, over the long side of an image (`PartSizes`); null where there is
   * none.
   */
  readonly partSizes: readonly (number | null)[];
  /** Pixels that stand for no class. */
  readonly ignoredPixels: number;
}

/** What was found in a data set. */
export interface InspectionReport {
  /** Its classes; null for images of a user's own without a class file. */
  readonly classes: ClassSet | null;
  /** Its splits. */
  readonly splits: readonly SplitReport[];
  /** What a run would be refused for, a sentence each. */
  readonly problems: readonly string[];
  /** What is no error but worth knowing. */
  readonly notes: readonly string[];
}

/**
 * Inspects a data set.
 *
 * @throws {DataError} If the folder or its class file cannot be read at all, or no thread can start.
 */
export async function inspectDataset(options: InspectOptions): Promise<InspectionReport> {
  const { root, layout } = options;
  checkThreadsCanStart();
  const classes = classesOf(root, layout);
  const [problems, notes, splits]: [string[], string[], SplitReport[]] = [[], [], []];
  for (const split of options.split === undefined ? splitsOf(root, layout) : [options.split]) {
    const place = { root, layout, split };
    const isLabelled = hasLabels(place);
    try {
      const listing = listDataset(place, isLabelled);
      if (!isLabelled) {
        notes.push(
          `${
            nameOf(split)
          } has no labels: its images can be adapted to, but neither trained on as ` +
            `source nor measured on`,
        );
      }
      if (isLabelled) problems.push(...pairingProblems(place, listing));
      if (listing.skipped.length > 0) {
        notes.push(
          `left out, as links to folders that are listed already: ${shortList(listing.skipped)}`,
        );
      }
      splits.push(await inspectSplit(split, listing, classes, options, problems));
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      problems.push(error.message);
    }
  }
  for (const { split, partSizes, longSide } of splits) {
    const small = partsTooSmall(classes?.names ?? [], partSizes, longSide);
    if (small) notes.push(`${nameOf(split)}: ${sentenceOf(small)}`);
  }
  for (const [where, names] of absentClasses(classes, splits)) {
    notes.push(`no pixel of ${where} is ${names.join(", ")}`);
  }
  return { classes, splits, problems: problems.map(oneLine), notes: notes.map(oneLine) };
}

/** A split for a sentence. */
export function nameOf(split: string): string {
  return split === "" ? "the data set" : `split ${split}`;
}

/** The classes that labels lack, by the splits that lack them. */
function absentClasses(
  classes: ClassSet | null,
  splits: readonly SplitReport[],
): Map<string, string[]> {
  const labelled = splits.filter(({ labelled }) => labelled > 0);
  const found = new Map<string, string[]>();
  classes?.names.forEach((name, index) => {
    const without = labelled.filter(({ classPixels }) => classPixels[index] === 0);
    if (without.length === 0) return;
    const names = without.map(({ split }) => split);
    const where = without.length === 1
      ? nameOf(names[0])
      : without.length === labelled.length
      ? "any split"
      : `splits ${names.join(" and ")}`;
    found.set(where, [...found.get(where) ?? [], name]);
  });
  return found;
}

function pairingProblems(place: Place, { items, labelPath }: Listing): string[] {
  const names = new Set(items.map(({ name }) => name));
  const bare = items.filter(({ label }) => label === null).map((item) =>
    `Cannot use image ${item.image} as it has no label: expected ${
      labelPath(item)
    }; add the label ` +
    `or remove the image`
  );
  const stray = [...findFiles(place, "label").paths].filter(([name]) => !names.has(name)).map((
    [, path],
  ) =>
    `Cannot use label ${path} as it has no image of its name; add the image or remove the label`
  );
  return [...bare, ...stray];
}

async function inspectSplit(
  split: string,
  { items, code }: Listing,
  classes: ClassSet | null,
  options: InspectOptions,
  problems: string[],
): Promise<SplitReport> {
  const opened = spread(items, options.limit ?? items.length);
  const sizes = new Map<string, number>();
  const tally = new LabelTally(code, classes);
  const trainIds = classes?.trainIds ?? null;
  await eachReply(opened, { code, trainIds }, options, (item, { size, label, problems: own }) => {
    problems.push(...own);
    if (size) {
      const key = `${size.width}×${size.height}`;
      sizes.set(key, (sizes.get(key) ?? 0) + 1);
    }
    if (item.label !== null && label) tally.add(item.label, label);
  });
  problems.push(...tally.problems());
  const { classPixels, classLabels, ignoredPixels, parts } = tally;
  const byCount = [...sizes].sort(([, a], [, b]) => b - a);
  return {
    split,
    images: items.length,
    labelled: items.filter(({ label }) => label !== null).length,
    items: opened,
    code,
    sizes: Object.fromEntries(byCount),
    longSide: Math.max(0, ...(byCount[0]?.[0] ?? "").split("×").map(Number)),
    classPixels,
    classLabels,
    partSizes: classPixels.map((_, id) => parts.typical(id)),
    ignoredPixels,
  };
}

/** Counts what the labels of a split hold; nothing where the classes are not known. */
class LabelTally {
  readonly classPixels: number[];
  readonly classLabels: number[];
  readonly parts = new PartSizes();
  ignoredPixels = 0;
  readonly #code: LabelCode;
  readonly #trainIds: readonly number[] | null;
  /**
   * By a value that stands for nothing: the first label that has it, and how many labels and pixels
   * do.
   */
  readonly #unknown = new Map<
    string,
    { first: string; labels: number; pixels: number; known: string }
  >();

  constructor(code: LabelCode, classes: ClassSet | null) {
    this.#code = code;
    this.#trainIds = classes?.trainIds ?? null;
    this.classPixels = new Array<number>(classes?.names.length ?? 0).fill(0);
    this.classLabels = this.classPixels.slice();
  }

  add(path: string, { kind, counts, parts }: NonNullable<InspectReply["label"]>): void {
    const trainIds = this.#trainIds;
    if (!trainIds) return;
    this.parts.add(parts);
    const trainIdOf = trainIdsByValue(kind, this.#code, trainIds);
    const seen = new Set<number>();
    for (const [value, pixels] of counts) {
      const trainId = trainIdOf(value);
      if (trainId === undefined) {
        const key = describeValue(kind, value);
        const known = describeKnown(kind, this.#code, trainIds);
        const entry = this.#unknown.get(key) ?? { first: path, labels: 0, pixels: 0, known };
        entry.labels++;
        entry.pixels += pixels;
        this.#unknown.set(key, entry);
      } else if (trainId === IGNORE) {
        this.ignoredPixels += pixels;
      } else {
        this.classPixels[trainId] += pixels;
        if (!seen.has(trainId)) this.classLabels[trainId]++;
        seen.add(trainId);
      }
    }
  }

  /** A sentence for every unknown value. */
  problems(): string[] {
    return [...this.#unknown].map(([value, { first, labels, pixels, known }]) => {
      const others = labels > 1 ? ` and ${labels - 1} more` : "";
      return `Cannot use label ${first}${others} as ${pixels} pixels have ${value}: expected ` +
        `${known}; convert them`;
    });
  }
}

/** Hands items to workers, one at a time each, and their replies on in the items' order. */
async function eachReply(
  items: readonly DatasetItem[],
  known: Omit<InspectRequest, "item">,
  { workers = Math.min(8, navigator.hardwareConcurrency), onImage, signal }: InspectOptions,
  use: (item: DatasetItem, reply: InspectReply) => void,
): Promise<void> {
  const replies: (InspectReply | undefined)[] = [];
  let [next, used] = [0, 0];
  const work = async () => {
    const worker = new Worker(new URL("./inspect_worker.ts", import.meta.url), { type: "module" });
    try {
      while (next < items.length && !signal?.aborted) {
        const index = next++;
        const request: InspectRequest = { item: items[index], ...known };
        replies[index] = (await askThread<InspectAnswer>(worker, request)).reply;
        for (let reply = replies[used]; reply; reply = replies[used]) {
          use(items[used], reply);
          replies[used++] = undefined;
          onImage?.(used, items.length);
        }
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(workers, items.length)) }, work));
  signal?.throwIfAborted();
}
