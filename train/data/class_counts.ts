/**
 * How many pixels of every class each label of a data set has, counted on threads.
 *
 * @module
 */
import { askThread, checkThreadsCanStart } from "../base/thread.ts";
import type { ClassCounts } from "./class_pixels.ts";
import type { CountReply, CountRequest } from "./count_worker.ts";
import type { Dataset } from "./dataset.ts";

/** How labels are counted. */
export interface CountOptions {
  /** Classes; train ids are below. */
  readonly classes: number;
  /** Threads that decode labels (1). */
  readonly workers?: number;
  /** Stops the counting. */
  readonly signal?: AbortSignal;
}

/**
 * Counts the labels of all items; images are left alone.
 *
 * @returns In the order of the items.
 * @throws {DataError} If a label cannot be used.
 * @throws {TypeError} If the data set has no labels.
 * @throws The signal's reason, if it is aborted.
 */
export async function countClasses(
  { items, trainIds, code }: Dataset,
  { classes, workers = 1, signal }: CountOptions,
): Promise<ClassCounts[]> {
  checkThreadsCanStart();
  const labels = items.map(({ name, label }) => {
    if (label === null) throw new TypeError(`Cannot count classes as "${name}" has no label`);
    return label;
  });
  if (!trainIds) throw new TypeError("Cannot count classes of a data set whose labels are unread");
  const counts: ClassCounts[] = [];
  let next = 0;
  const work = async () => {
    const worker = new Worker(new URL("./count_worker.ts", import.meta.url), { type: "module" });
    try {
      while (next < labels.length && !signal?.aborted) {
        const index = next++;
        const request: CountRequest = { label: labels[index], trainIds, code, classes };
        counts[index] = (await askThread<CountReply>(worker, request)).counts;
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, labels.length) }, work));
  signal?.throwIfAborted();
  return counts;
}
