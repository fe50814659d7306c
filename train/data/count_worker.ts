// Counts the pixels of labels by class, off the main thread. Started by class_counts.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { type PostedError, postedError } from "../base/thread.ts";
import { decodeLabel } from "./dataset.ts";
import type { LabelCode } from "./label_code.ts";

/** One label to count. */
export interface CountRequest {
  /** Its file. */
  readonly label: string;
  /** Train ids by label id. */
  readonly trainIds: readonly number[];
  /** How the file holds label ids. */
  readonly code: LabelCode | undefined;
  /** Classes; train ids are below, and others are not counted. */
  readonly classes: number;
}

/** What a label holds. */
export interface ClassCounts {
  /** Pixels of every class, in the order of the train ids. */
  readonly pixels: readonly number[];
  /** Pixels per row of the label, and so of its image. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/** What became of a request: what the label holds, or why that cannot be said. */
export type CountReply = { readonly counts: ClassCounts } | { readonly error: PostedError };

self.onmessage = ({ data }: MessageEvent<CountRequest>) => {
  const { label, trainIds, code, classes } = data;
  let reply: CountReply;
  try {
    const { data, width, height } = decodeLabel(label, trainIds, code);
    const pixels = new Array<number>(classes).fill(0);
    for (const trainId of data) if (trainId < classes) pixels[trainId]++;
    reply = { counts: { pixels, width, height } };
  } catch (error) {
    reply = { error: postedError(error, label) };
  }
  self.postMessage(reply);
};
