// Kills trainings again and again at random moments and resumes them, then compares every bit with
// trainings that were left alone. Too long for the suite: `deno task kills 40`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "../cli/_program.ts";
import { assertSameOutcome, killWhen, outcomeOf, tinyConfig } from "./_resume.ts";

/** What is trained: settings over the tiny configuration, and flags. */
const TRAININGS: Readonly<Record<string, { values: object; flags: readonly string[] }>> = {
  "as streets": { values: {}, flags: [] },
  "RandAugment, in two parts, by the paper": {
    values: { strongView: "randaugment" },
    flags: ["--accumulate", "2", "--recipe", "paper"],
  },
  "RandAugment, in two parts, by the released code": {
    values: { strongView: "randaugment" },
    flags: ["--accumulate", "2", "--recipe", "official"],
  },
};

const wanted = Number(Deno.args[0] ?? 40);
for (const [index, [title, { values, flags }]] of Object.entries(TRAININGS).entries()) {
  const count = Object.keys(TRAININGS).length;
  const kills = Math.floor(wanted / count) + Number(index < wanted % count);
  const folder = Deno.makeTempDirSync();
  const config = join(folder, "tiny.json");
  const steps = Math.max(4, 3 * kills); // long enough to be killed that often
  const tiny = tinyConfig(folder, steps);
  Deno.writeTextFileSync(
    config,
    JSON.stringify({ ...tiny, data: { ...tiny.data as object, ...values } }),
  );
  const { done, runs } = await killAgainAndAgain(folder, ["--config", config, ...flags], kills);
  console.log(
    `${title}: ${done} kills in ${runs} runs of 6 × ${steps} steps: every bit is as in a run without one`,
  );
  Deno.removeSync(folder, { recursive: true });
}

/** Trains once alone and once with kills, and compares. */
async function killAgainAndAgain(
  folder: string,
  flags: readonly string[],
  kills: number,
): Promise<{ done: number; runs: number }> {
  const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
  const started = performance.now();
  const run = await runProgram("train", ...flags, "--out", whole);
  assert.equal(run.code, 0, run.stderr);
  const seconds = (performance.now() - started) / 1000;
  let [done, runs] = [0, 0];
  for (let ended = false; !ended;) {
    runs++;
    const isBegun = existsSync(join(killed, "config.json"));
    // Killed before there was a run to resume.
    if (!isBegun && existsSync(killed)) Deno.removeSync(killed, { recursive: true });
    const args = isBegun ? ["train", "--resume", killed] : ["train", ...flags, "--out", killed];
    if (done === kills) {
      const last = await runProgram(...args);
      assert.equal(last.code, 0, last.stderr);
      break;
    }
    // Late enough that each run gets somewhere: a checkpoint comes every other step.
    const until = performance.now() + 1000 + Math.random() * (500 + 1500 * seconds / kills);
    if (await killWhen(() => performance.now() > until, args)) done++;
    else ended = true;
  }
  assertSameOutcome(outcomeOf(killed), outcomeOf(whole));
  return { done, runs };
}
