// A training that is interrupted again and again and goes on, against one that was left alone.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "../cli/_program.ts";
import { assertSameOutcome, outcomeOf } from "./_resume.ts";

/** How a training is started, and what befalls it. */
export interface Interruptions {
  /** Trains to the end. */
  run(args: readonly string[]): Promise<Outcome>;
  /** Trains until something befalls it after so many milliseconds; false if it ended well before. */
  interrupt(args: readonly string[], after: number): Promise<boolean>;
  /** A number from 0 to 1, of which the moments are made; Math.random unless given. */
  random?(): number;
}

/**
 * Trains once alone and once with so many interruptions, and compares every bit.
 *
 * @param folder Where both runs are written, as `whole` and `interrupted`.
 * @param flags What is trained.
 */
export async function trainInterrupted(
  folder: string,
  flags: readonly string[],
  wanted: number,
  { run, interrupt, random = Math.random }: Interruptions,
): Promise<{ done: number; runs: number }> {
  const [whole, interrupted] = [join(folder, "whole"), join(folder, "interrupted")];
  const started = performance.now();
  const alone = await run(["train", ...flags, "--out", whole]);
  assert.equal(alone.code, 0, alone.stderr);
  const seconds = (performance.now() - started) / 1000;
  let [done, runs] = [0, 0];
  for (let ended = false; !ended;) {
    runs++;
    const isBegun = existsSync(join(interrupted, "config.json"));
    // Interrupted before there was a run to resume.
    if (!isBegun && existsSync(interrupted)) Deno.removeSync(interrupted, { recursive: true });
    const args = isBegun
      ? ["train", "--resume", interrupted]
      : ["train", ...flags, "--out", interrupted];
    if (done === wanted) {
      const last = await run(args);
      assert.equal(last.code, 0, last.stderr);
      break;
    }
    // Late enough that each run gets somewhere: a checkpoint comes every other step.
    if (await interrupt(args, 1000 + random() * (500 + 1500 * seconds / wanted))) done++;
    else ended = true;
  }
  assertSameOutcome(outcomeOf(interrupted), outcomeOf(whole));
  return { done, runs };
}
