// What the tests of resuming share: a run of seconds, and all that it leaves behind.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import type { PretrainingResult } from "../../train/run/run_folder.ts";
import { startProgram } from "../cli/_program.ts";
import { namesIn } from "./_folder.ts";
import { assertSame } from "../_same.ts";

const STAGES = ["source", "warmup", "stage1", "selfsup", "stage2", "stage3"] as const;
/** Steps of every stage. */
export const STEPS = 4;

/** All stages, of a few steps each, on tiny images that all runs of a test share; a checkpoint every other step. */
export function tinyConfig(folder: string, steps = STEPS): Record<string, unknown> {
  const stage = { steps, scheduleSteps: steps };
  return {
    pipeline: [...STAGES],
    logEvery: 1,
    evalEvery: 3,
    checkpointEvery: 2,
    // Networks of a few steps are good or bad by chance.
    handOn: "last",
    finalStatistics: "own",
    network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
    data: {
      heldOut: { share: 0 }, // few steps learn nothing, for which a run would stop
      batch: 2,
      cropHeight: 32,
      cropWidth: 48,
      longSide: 64,
      streets: {
        directory: join(folder, "streets"),
        width: 64,
        height: 32,
        sourceTrain: 5,
        targetTrain: 5,
        targetVal: 2,
        sourceVal: 1,
        targetChoose: 1,
      },
    },
    stages: {
      source: stage,
      warmup: { ...stage, discriminatorPlanes: 4 },
      stage1: stage,
      selfsup: { ...stage, projectionChannels: 8, places: 4 },
      stage2: { ...stage, studentStart: "self-supervised", featureNorm: true },
      stage3: stage,
    },
  };
}

/** Every tensor of every last checkpoint, the records of all steps, the scores, and all labels that were made. */
export function outcomeOf(
  run: string,
  names: readonly string[] = STAGES,
): Record<string, unknown> {
  const outcome: Record<string, unknown> = {};
  for (const stage of names) {
    const path = join(run, "checkpoints", `${stage}.safetensors`);
    const file = new Safetensors(Deno.readFileSync(path));
    assert.ok(file.entries.size > 100);
    for (const [name, { dtype }] of file.entries) {
      const values = dtype === "F32" ? file.floats(name) : file.integers(name);
      outcome[`${stage} ${name}`] = new Uint32Array(values.slice().buffer);
    }
  }
  const { stages, pretraining } = JSON.parse(Deno.readTextFileSync(join(run, "result.json")));
  outcome.stages = [pretraining ?? {}, ...stages].map(withoutCost);
  outcome.metrics = Deno.readTextFileSync(join(run, "metrics.jsonl"));
  for (const labels of ["soft_labels", "pseudo_labels"]) {
    outcome[labels] = filesIn(join(run, labels)).map((path) => Deno.readFileSync(path));
  }
  return outcome;
}

/** The paths of all files in a folder and in those in it; none where there is no such folder. */
function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return namesIn(folder).map((name) => join(folder, name)).flatMap((path) =>
    Deno.statSync(path).isDirectory ? filesIn(path) : [path]
  );
}

/** A stage's result without what it took, which differs from run to run. */
export function withoutCost(result: Partial<PretrainingResult>): Record<string, unknown> {
  const { seconds: _s, waitShare: _w, times: _t, peakBytes: _p, ...rest } = result;
  return rest;
}

/** Compares two runs at zero tolerance. */
export function assertSameOutcome(
  found: Record<string, unknown>,
  expected: Record<string, unknown>,
) {
  assert.deepEqual(Object.keys(found), Object.keys(expected));
  for (const [name, value] of Object.entries(expected)) assertSame(found[name], value, name);
}

/** Starts a command and kills it, with no chance to tidy up, once `when` holds; false if it ended well first. */
export async function killWhen(when: () => boolean, args: readonly string[]): Promise<boolean> {
  const process = startProgram(args);
  const output = process.output();
  let ended = false;
  output.then(() => ended = true);
  while (!ended && !when()) await new Promise((resolve) => setTimeout(resolve, 1));
  const killed = !ended;
  if (killed) process.kill("SIGKILL");
  const { code, stderr } = await output;
  if (!killed) assert.equal(code, 0, new TextDecoder().decode(stderr));
  return killed;
}
