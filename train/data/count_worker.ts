// Counts the pixels of labels by class, off the main thread. Started by class_counts.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { type PostedError, postedError } from "../base/thread.ts";
import { type ClassCounts, classCounts } from "./class_pixels.ts";
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

/** What became of a request: what the label holds, or why that cannot be said. */
export type CountReply = { readonly counts: ClassCounts } | { readonly error: PostedError };

self.onmessage = ({ data }: MessageEvent<CountRequest>) => {
  const { label, trainIds, code, classes } = data;
  let reply: CountReply;
  try {
    reply = { counts: classCounts(decodeLabel(label, trainIds, code), classes) };
  } catch (error) {
    reply = { error: postedError(error, label) };
  }
  self.postMessage(reply);
};
