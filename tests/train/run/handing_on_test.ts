// Which network a run hands on, from stage to stage and at its end, and that a resume finds the same.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { CLASSES_EXCHANGED } from "../../../train/evaluation/causes.ts";
import { bestOf, MARGIN, markHandedOn, reasonFor } from "../../../train/run/handing_on.ts";
import type { RunResult, StageResult } from "../../../train/run/run_folder.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { assertSame } from "../../_same.ts";
import { testGpu } from "../../_device.ts";
import { withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { outcomeOf, tinyConfig, withoutCost } from "../_resume.ts";

/** A stage with a label-free score. */
function scored(name: string, score?: number): StageResult {
  const known = score === undefined ? {} : { agreement: score, correlation: score };
  return { name, steps: 1, seconds: 1, mIoU: NaN, classIoU: {}, pixelAccuracy: NaN, ...known };
}

Deno.test("the last network is the best, unless an earlier one is better by more than the margin", () => {
  const nameOf = (...scores: (number | undefined)[]) =>
    bestOf(scores.map((score, index) => scored(`${index}`, score)))?.name;
  assert.equal(nameOf(), undefined);
  assert.equal(nameOf(30), "0");
  assert.equal(nameOf(30, 40), "1");
  assert.equal(nameOf(30 * MARGIN, 30), "1", "at the margin");
  assert.equal(nameOf(30 * MARGIN + 0.1, 30), "0", "over it");
  assert.equal(nameOf(50, 60, 30), "1", "the best of those before");
  assert.equal(nameOf(60, 60, 30), "1", "the later of equal ones");
  assert.equal(nameOf(90, undefined), "1", "the last one is not known");
  assert.equal(nameOf(undefined, 30), "1", "the others are not known");
  const result: RunResult = { adapter: "", seed: 0, stages: [scored("a", 90), scored("b", 95)] };
  assert.equal(markHandedOn(result)?.name, "b");
  result.stages.push(scored("c", 10));
  assert.equal(markHandedOn(result)?.name, "b");
  assert.deepEqual(result.stages.map(({ handedOn }) => handedOn), [undefined, true, undefined]);
});

Deno.test("a network whose classes have changed places is passed over, whatever its score", () => {
  const exchanged = (name: string, score: number): StageResult => ({
    ...scored(name, score),
    causes: [{ name: CLASSES_EXCHANGED, found: "", remedy: "" }],
  });
  const nameOf = (...stages: StageResult[]) => bestOf(stages)?.name;
  assert.equal(nameOf(scored("a", 50), exchanged("b", 90)), "a");
  assert.equal(nameOf(scored("a", 50), exchanged("b", 90), exchanged("c", 95)), "a");
  assert.equal(nameOf(scored("a", 50), exchanged("b", 90), scored("c", 40)), "a", "better than c");
  assert.equal(nameOf(scored("a", 50), exchanged("b", 90), scored("c", 49)), "c");
  assert.equal(nameOf(exchanged("a", 50), exchanged("b", 90)), "b", "there is no other");
  const reason = reasonFor(scored("a", 50), exchanged("b", 90));
  assert.match(
    reason,
    /^the network of a is handed on, not that of b, in which classes have changed/,
  );
});

const { signal } = new AbortController();

function configOf(folder: string, out: string, values: Record<string, unknown>): RunConfig {
  const all = { ...tinyConfig(folder), ...values, out: join(folder, out) };
  return mergeConfig(presetConfig("default"), { values: all, from: "the test" });
}

const PIPELINE = ["source", "warmup", "stage1"] as const;

/** Rewrites what a run says of its stages. */
function rewrite(run: string, change: (stages: StageResult[]) => void): void {
  const path = join(run, "result.json");
  const result = JSON.parse(Deno.readTextFileSync(path)) as RunResult;
  change(result.stages);
  Deno.writeTextFileSync(path, JSON.stringify(result));
}

/** Removes the checkpoints of stages, as if they had not begun. */
function forget(run: string, ...stages: string[]): void {
  for (const name of stages.flatMap((stage) => [stage, `${stage}.previous`])) {
    const path = join(run, "checkpoints", `${name}.safetensors`);
    if (existsSync(path)) Deno.removeSync(path);
  }
}

/** All arrays of the last checkpoint of stage 1. */
function stage1Of(run: string): Record<string, unknown> {
  const arrays = Object.entries(outcomeOf(run, ["stage1"]));
  return Object.fromEntries(arrays.filter(([name]) => name.startsWith("stage1 ")));
}

for (const handOn of ["best", "last"] as const) {
  Deno.test(`a stage starts from the ${handOn} network before it, in one go and resumed`, () =>
    withFolder(async (folder) => {
      const gpu = await testGpu();
      const said: string[] = [];
      const observer = { ...SILENT, message: (text: string) => void said.push(text) };
      const config = configOf(folder, "run", { pipeline: [...PIPELINE], handOn });
      await runTraining(config, gpu, SILENT, signal);
      // What stage 1 makes of the network of source.
      const without = configOf(folder, "without", {
        pipeline: ["source", "stage1"],
        handOn: "last",
      });
      await runTraining(without, gpu, SILENT, signal);
      const isOfSource = () => isDeepStrictEqual(stage1Of(config.out), stage1Of(without.out));
      assert.ok(!isOfSource(), "it matters what it starts from");

      // Warm-up and stage 1 again, after a source that is far better than they will be.
      rewrite(config.out, ([source]) => {
        Object.assign(source, { agreement: 100, correlation: 100 });
      });
      forget(config.out, "warmup", "stage1");
      const { stages } = await resumeTraining(config.out, gpu, observer, signal);
      assert.equal(isOfSource(), handOn === "best", "in one go");
      assert.deepEqual(stages.map(({ handedOn }) => handedOn), [true, undefined, undefined]);
      const reasons = said.filter((text) => text.startsWith("the network of source is handed on"));
      assert.equal(reasons.length, handOn === "best" ? 2 : 1, "said when it is so");
      const whole = outcomeOf(config.out, PIPELINE);

      // Interrupted between the stages, and within the last.
      forget(config.out, "stage1");
      const again = await resumeTraining(config.out, gpu, SILENT, signal);
      assertSame(outcomeOf(config.out, PIPELINE), whole);
      assert.deepEqual(again.stages.map(withoutCost), stages.map(withoutCost));
      const last = join(config.out, "checkpoints", "stage1.safetensors");
      Deno.writeFileSync(last, Deno.readFileSync(last).subarray(0, -5));
      await resumeTraining(config.out, gpu, SILENT, signal);
      assertSame(outcomeOf(config.out, PIPELINE), whole);

      // A run that goes on from this one takes the same network.
      const more = configOf(folder, "more", { pipeline: ["stage1"], handOn, base: config.out });
      await runTraining(more, gpu, SILENT, signal);
      assertSame(stage1Of(more.out), stage1Of(config.out));

      // A run that is stopped before the stage that was handed on says which is until then.
      rewrite(config.out, (stages) => {
        for (const stage of stages) delete stage.handedOn;
        Object.assign(stages[2], { handedOn: true });
      });
      forget(config.out, "stage1");
      await resumeTraining(config.out, gpu, SILENT, AbortSignal.abort()).catch(() => {});
      rewrite(config.out, (stages) => {
        assert.deepEqual(stages.map(({ handedOn }) => handedOn), [true, undefined]);
      });
    }));
}
