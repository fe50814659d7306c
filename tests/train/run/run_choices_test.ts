// A run keeps to the ways of computing that it has begun with, wherever it is interrupted.

import assert from "node:assert/strict";
import { join } from "node:path";
import { existsSync } from "node:fs";
import { type ChoiceTable, type Gpu, openGpu } from "../../../kernels/runtime/mod.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { planTraining } from "../../../train/plan/plan.ts";
import { libraryName } from "../../../train/run/run_choices.ts";
import { type ResumeOptions, resumeTraining, runTraining } from "../../../train/run/run.ts";
import { STAGES } from "../../../train/stages/kinds.ts";
import { dataError, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { assertSameOutcome, outcomeOf, STEPS, tinyConfig } from "../_resume.ts";

const { signal } = new AbortController();
const PIPELINE = ["source"];

function configIn(folder: string, name: string, steps = STEPS): RunConfig {
  const values = { ...tinyConfig(folder, steps), pipeline: PIPELINE, out: join(folder, name) };
  return mergeConfig(presetConfig("default"), { values, from: "the test" });
}

/** Every problem of a run, as it is known before the first step. */
async function problemsOf(config: RunConfig) {
  using gpu = await openGpu({ autotune: true });
  const { adapter, device: { limits }, kernelClass: kernels, choices } = gpu;
  await planTraining(config, 8, { adapter, limits, kernels, choices });
  return choices.takeOpen();
}

/**
 * For every problem of a run another way than the expected one: other bits, as is wanted here, by
 * Winograd's algorithm, which would not be tried where it is as dear as here.
 */
async function otherWays(config: RunConfig): Promise<ChoiceTable> {
  const problems = await problemsOf(config);
  return Object.fromEntries(
    problems.map(({ key, candidates, expected }) => [
      key,
      candidates.find((name) => name !== expected) ??
        (key.startsWith("conv2d.forward") ? "winograd" : expected),
    ]),
  );
}

/** Runs two steps of the first stage and is stopped. */
async function begin(config: RunConfig, gpu: Gpu, tune: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const observer = { ...SILENT, step: () => stop.abort() };
  await runTraining(config, gpu, observer, stop.signal, { tune });
}

/** Goes on with a run on a device of its own; what it heard. */
async function resume({ out }: RunConfig, options: ResumeOptions = {}): Promise<string[]> {
  using gpu = await openGpu({ autotune: true });
  const messages: string[] = [];
  const observer = { ...SILENT, message: (text: string) => void messages.push(text) };
  gpu.choices.add({ "of the file": "now" });
  await resumeTraining(out, gpu, observer, signal, options);
  assert.ok(!("of the file" in gpu.choices.table), "its choices are the run's alone");
  return messages;
}

const notAgain = () => assert.fail("a run that goes on is not tuned again");

/** Changes what a run has recorded of its choices. */
function edit({ out }: RunConfig, change: (record: Record<string, unknown>) => void): void {
  const path = join(out, "choices.json");
  const record = JSON.parse(Deno.readTextFileSync(path));
  change(record);
  Deno.writeTextFileSync(path, JSON.stringify(record));
}

Deno.test("a run that goes on computes as it has begun, whatever has been tuned since", () =>
  withFolder(async (folder) => {
    const [whole, cut, plain] = ["whole", "cut", "plain"].map((name) => configIn(folder, name));
    const ways = await otherWays(whole);
    const add = (gpu: Gpu) => () => Promise.resolve(gpu.choices.add(ways));
    {
      using gpu = await openGpu({ autotune: true });
      await runTraining(whole, gpu, SILENT, signal, { tune: add(gpu) });
      assert.equal(gpu.choices.isNoting, false, "steps add no choices");
    }
    {
      using gpu = await openGpu();
      await runTraining(plain, gpu, SILENT, signal);
      assert.ok(!existsSync(join(plain.out, "choices.json")), "there are none to record");
    }
    const expected = outcomeOf(whole.out, PIPELINE);
    assert.notDeepEqual(expected, outcomeOf(plain.out, PIPELINE), "the ways make a difference");
    {
      using gpu = await openGpu({ autotune: true });
      await begin(cut, gpu, add(gpu));
    }
    assert.deepEqual(
      JSON.parse(Deno.readTextFileSync(join(cut.out, "choices.json"))).choices,
      ways,
    );
    const messages = await resume(cut, { tune: notAgain });
    assert.ok(!messages.some((text) => text.startsWith("NOTE")), messages.join("\n"));
    assertSameOutcome(outcomeOf(cut.out, PIPELINE), expected);
  }));

Deno.test("a run that has begun without choices goes on without", () =>
  withFolder(async (folder) => {
    const config = configIn(folder, "run");
    {
      using gpu = await openGpu();
      await begin(config, gpu, () => Promise.resolve());
    }
    await resume(config, { tune: notAgain });
    assert.ok(!existsSync(join(config.out, "choices.json")));
  }));

Deno.test("on another adapter a run is tuned anew, with another library it is not; both are told", () =>
  withFolder(async (folder) => {
    const config = configIn(folder, "run");
    {
      using gpu = await openGpu({ autotune: true });
      await begin(config, gpu, () => Promise.resolve(gpu.choices.add({ "matmul 1": "64×64" })));
    }
    edit(config, (record) => record.library = "0.0.1");
    const told = await resume(config, { tune: notAgain });
    const version =
      `NOTE: the run has begun with version 0.0.1, and goes on with ${libraryName()}: it `;
    assert.ok(told.some((text) => text.startsWith(version)), told.join("\n"));

    Deno.removeSync(join(config.out, "checkpoints", "source.safetensors"));
    edit(config, (record) => record.adapter = "another GPU");
    let tuned = 0;
    const heard = await resume(config, { tune: () => Promise.resolve(void tuned++) });
    assert.equal(tuned, 1);
    assert.ok(
      heard.some((text) => text.startsWith('NOTE: kernels were tuned for "another GPU" so far, ')),
      heard.join("\n"),
    );
    edit(config, ({ adapter, choices }) => {
      assert.notEqual(adapter, "another GPU");
      assert.deepEqual(choices, {});
    });
  }));

Deno.test("a run is tuned when it goes on where that is asked for, or where no step was made", () =>
  withFolder(async (folder) => {
    const config = configIn(folder, "run");
    const stop = new AbortController();
    {
      using gpu = await openGpu({ autotune: true });
      const tune = () => Promise.resolve(stop.abort());
      const stopped = runTraining(config, gpu, SILENT, stop.signal, { tune });
      await assert.rejects(stopped, (error) => error === stop.signal.reason);
    }
    assert.ok(!existsSync(join(config.out, "choices.json")), "what is half done is not recorded");
    let tuned = 0;
    const tune = () => Promise.resolve(void tuned++);
    await resume(config, { tune });
    assert.equal(tuned, 1);
    await resume(config, { tune });
    assert.equal(tuned, 1);
    await resume(config, { tune, tuneAfresh: true });
    assert.equal(tuned, 2);
  }));

Deno.test("a record of choices that no run has written stops a run", () =>
  withFolder(async (folder) => {
    const config = configIn(folder, "run");
    {
      using gpu = await openGpu({ autotune: true });
      await begin(config, gpu, () => Promise.resolve());
    }
    const path = join(config.out, "choices.json");
    for (const text of ["{", '{"adapter": 1}']) {
      Deno.writeTextFileSync(path, text);
      await assert.rejects(
        resume(config),
        dataError("Cannot resume", `${path} is not as a run writes it: `, "restore the file"),
      );
    }
  }));

Deno.test("what steps ask is known before the first one, and what images ask, but of few images together", () =>
  withFolder(async (folder) => {
    const pipeline = STAGES.filter((name) => name !== "oracle");
    const config = { ...configIn(folder, "run", 1), pipeline };
    using gpu = await openGpu({ autotune: true });
    const { choices } = gpu;
    const problems = await problemsOf(config);
    choices.add(Object.fromEntries(problems.map(({ key, expected }) => [key, expected])));
    const observer = { ...SILENT, stageStart: () => void (choices.isNoting = true) };
    await runTraining(config, gpu, observer, signal);
    // Agreement is measured on images of other sizes too.
    const { data } = config;
    const ofViews = await Promise.all(
      [0.75, 1.25].map((scale) =>
        problemsOf({ ...config, data: { ...data, longSide: scale * data.longSide } })
      ),
    );
    const known = new Set(ofViews.flat().map(({ key }) => key));
    const images = choices.takeOpen().filter(({ key }) => !known.has(key))
      .map(({ key }) => Number(/ (\d+)/.exec(key)?.[1]));
    // All images of the target, where evaluations take more at once; a plan counts those of its val split.
    assert.deepEqual([...new Set(images)], [data.streets.targetTrain]);
  }));
