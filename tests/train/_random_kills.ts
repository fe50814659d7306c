// Kills one training again and again at random moments and resumes it, then compares every bit with a
// training that was left alone. Too long for the suite: `deno task kills 40`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "../cli/_program.ts";
import { assertSameOutcome, killWhen, outcomeOf, tinyConfig } from "./_resume.ts";

const wanted = Number(Deno.args[0] ?? 40);
const folder = Deno.makeTempDirSync();
const config = join(folder, "tiny.json");
const steps = Math.max(4, 3 * wanted); // long enough to be killed that often
const values = tinyConfig(folder, steps);
Deno.writeTextFileSync(config, JSON.stringify(values));
const whole = join(folder, "whole");
const started = performance.now();
const run = await runProgram("train", "--config", config, "--out", whole);
assert.equal(run.code, 0, run.stderr);
const seconds = (performance.now() - started) / 1000;

let kills = 0, runs = 0;
const killed = join(folder, "killed");
for (let ended = false; !ended;) {
  runs++;
  // Killed before there was a run to resume.
  if (!existsSync(join(killed, "config.json")) && existsSync(killed)) {
    Deno.removeSync(killed, { recursive: true });
  }
  const args = existsSync(join(killed, "config.json"))
    ? ["train", "--resume", killed]
    : ["train", "--config", config, "--out", killed];
  if (kills === wanted) {
    const last = await runProgram(...args);
    assert.equal(last.code, 0, last.stderr);
    break;
  }
  // Late enough that each run gets somewhere: a checkpoint comes every other step.
  const until = performance.now() + 1000 + Math.random() * (500 + 1500 * seconds / wanted);
  if (await killWhen(() => performance.now() > until, args)) kills++;
  else ended = true;
}
assertSameOutcome(outcomeOf(killed), outcomeOf(whole));
console.log(
  `${kills} kills in ${runs} runs of 5 × ${steps} steps: every bit is as in a run without one`,
);
Deno.removeSync(folder, { recursive: true });
