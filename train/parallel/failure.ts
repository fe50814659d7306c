// Why a run was ended that could not end itself: `failure.json` of its folder.

import { join } from "node:path";
import * as v from "valibot";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { exists, readFile, removeAll } from "../base/folders.ts";

const FAILURE = v.object({
  /** The process that says so, of how many. */
  rank: v.number(),
  size: v.number(),
  /** Its machine. */
  host: v.string(),
  /** How far it had come; null before its first stage. */
  stage: v.nullable(v.string()),
  step: v.nullable(v.number()),
  /** When: ISO 8601, UTC. */
  time: v.string(),
  /** A sentence. */
  reason: v.string(),
});

/** What ended a run. */
export type Failure = v.InferOutput<typeof FAILURE>;

function pathIn(folder: string): string {
  return join(folder, "failure.json");
}

/**
 * Leaves a reason in a run folder, unless another rank was first; does nothing where there is no run.
 *
 * @throws {DataError} If it cannot be written.
 */
export function writeFailure(folder: string, failure: Failure): void {
  if (!exists(join(folder, "config.json")) || exists(pathIn(folder))) return;
  const text = `${JSON.stringify(failure, null, 2)}\n`;
  writeFileAtomic(pathIn(folder), [new TextEncoder().encode(text)]);
}

/**
 * Why the run in a folder was ended, as a sentence, and removes the file; null where there is none.
 *
 * @throws {DataError} If it cannot be read or removed.
 */
export function takeFailure(folder: string): string | null {
  const path = pathIn(folder);
  if (!exists(path)) return null;
  const text = new TextDecoder().decode(readFile(path));
  removeAll(path);
  return sentenceOf(text);
}

function sentenceOf(text: string): string {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // cut off, or edited
  }
  const { success, output } = v.safeParse(FAILURE, content);
  if (!success) return `The run was ended by a failure: ${text.trim()}`;
  return `The run was ended ${failureText(output)}`;
}

/** `at stage1, step 12, by rank 1 of 2 on node7, 2026-11-29T12:00:00Z: the reason`. */
export function failureText({ rank, size, host, stage, step, time, reason }: Failure): string {
  const at = stage === null ? "" : `at ${stage}${step === null ? "" : `, step ${step}`}, `;
  return `${at}by rank ${rank} of ${size} on ${host}, ${time}: ${reason}`;
}
