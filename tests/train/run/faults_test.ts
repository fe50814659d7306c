// Faults around a run, each provoked for real: what cannot be written, settings that cannot work, and a
// GPU that goes away.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Gpu, MemoryError, openGpu } from "../../../kernels/runtime/mod.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { recipe } from "../../../train/config/recipes.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { DivergenceError } from "../../../train/run/divergence_error.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { TensorBoardLog } from "../../../train/run/tensorboard.ts";
import { TrainingError } from "../../../train/run/training_error.ts";
import { startProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { fileCallsOf } from "../_file_calls.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";
import { until } from "../_until.ts";

/** A run of one step a stage in `folder/run`, with some keys changed. */
function configOf(folder: string, ...values: Record<string, unknown>[]): RunConfig {
  const layers = [{ ...tinyConfig(folder, 1), out: join(folder, "run") }, ...values];
  return mergeConfig(
    presetConfig("quick"),
    ...layers.map((values) => ({ values, from: "the test" })),
  );
}

/** Calls `listen` with all that a run says. */
function listener(listen: (text: string) => void = () => {}): TrainingObserver {
  return {
    stageStart: ({ name }) => listen(`start ${name}`),
    step: ({ stage, step }) => listen(`step ${stage} ${step}`),
    evaluation: () => {},
    stageEnd: () => {},
    message: listen,
  };
}

const { signal } = new AbortController();

async function train(config: RunConfig, listen?: (text: string) => void, gpu?: Gpu) {
  return await runTraining(config, gpu ?? await testGpu(), listener(listen), signal);
}

for (
  const [what, when, stages] of [
    ["confusion", /^start source/, ["source"]],
    ["soft_labels", /^stage1: soft labels/, ["source", "stage1"]],
    ["pseudo_labels", /^stage2: pseudo labels/, ["source", "stage2"]],
    ["samples/source.png.partial", /^start source/, ["source"]],
    ["checkpoints/source.safetensors.partial", /^start source/, ["source"]],
    ["result.json.partial", /^start source/, ["source"]],
  ] as const
) {
  Deno.test(`a run that cannot write its ${what} ends in a sentence that names it`, () =>
    withFolder(async (folder) => {
      const config = configOf(folder, {
        pipeline: stages,
        stages: { stage2: { studentStart: "teacher", featureNorm: false } },
      });
      const path = join(config.out, what);
      const listen = (text: string) => {
        if (!when.test(text) || existsSync(path)) return;
        // A file where a folder is to be, a folder where a file is.
        if (path.endsWith(".partial")) Deno.mkdirSync(path);
        else Deno.writeTextFileSync(path, "");
      };
      await assert.rejects(
        train(config, listen),
        dataError(path.replace(/\.partial$/, ""), "; ", "choose another"),
      );
    }));
}

Deno.test("a disk that is full when a checkpoint is written ends a run in a sentence, and leaves nothing", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, 20)));
    const out = join(folder, "run");
    const args = ["train", "--config", config, "--stages", "source", "--out", out];
    const child = startProgram(args, { permissions: ["--allow-all"] }).output(); // devices need all
    const path = join(out, "checkpoints", "source.safetensors");
    await until("there is a run", () => existsSync(join(out, "config.json")));
    Deno.symlinkSync("/dev/full", `${path}.partial`);
    const { code, stderr } = await child;
    assert.equal(
      new TextDecoder().decode(stderr),
      `Cannot write ${path} as the disk is full; make room or choose another folder\n`,
    );
    assert.equal(code, 2);
    assert.deepEqual(namesIn(join(out, "checkpoints")), []);
  }));

Deno.test("what fails before the first step leaves no run folder, and the corrected run finds it free", () =>
  withFolder(async (folder) => {
    const weights = join(folder, "weights.pth");
    Deno.writeTextFileSync(weights, "no weights");
    const source = { pipeline: ["source"] };
    const out = join(folder, "run");
    const failing: [Record<string, unknown>[], RegExp][] = [
      [[source, { init: weights }], /^Cannot read weights/],
      [[source, { init: join(folder, "no.safetensors") }], /does not exist/],
      [[{ pipeline: ["source", "stage2"] }, recipe("paper")], /selfsup\.safetensors is missing/],
    ];
    for (const [values, message] of failing) {
      await assert.rejects(train(configOf(folder, ...values)), { name: "DataError", message });
      assert.ok(!existsSync(out), `${message} leaves nothing`);
    }

    using small = await openGpu({ memoryBudget: 300_000 });
    using log = new TensorBoardLog(out);
    Deno.mkdirSync(out); // an empty folder of the user's stays
    const config = configOf(folder, source);
    const logged = { ...log, ...listener(), stageStart: log.stageStart.bind(log) };
    await assert.rejects(runTraining(config, small, logged, signal), MemoryError);
    assert.deepEqual(namesIn(out), []);
    await train(config);
  }));

Deno.test("a run that is stopped while its streets are drawn leaves nothing", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, { pipeline: ["source"] });
    const run = runTraining(config, await testGpu(), listener(), AbortSignal.abort());
    await assert.rejects(run, { name: "AbortError" });
    assert.deepEqual(namesIn(folder), []);
  }));

Deno.test("a run that has made a step stays where it failed", () =>
  withFolder(async (folder) => {
    const stage = { steps: 3, scheduleSteps: 3, learningRate: 1e30 };
    const config = configOf(folder, { pipeline: ["source"], stages: { source: stage } });
    await assert.rejects(train(config), DivergenceError);
    assert.ok(existsSync(join(config.out, "config.json")));
  }));

Deno.test("a device that is lost in a step ends the training, and is not called out of memory", () =>
  withFolder(async (folder) => {
    const stage = { steps: 3, scheduleSteps: 3 };
    const config = configOf(folder, { pipeline: ["source"], stages: { source: stage } });
    using gpu = await openGpu();
    const lose = (text: string) => text === "step source 0" && gpu.device.destroy();
    await assert.rejects(train(config, lose, gpu), (error) => {
      assert.ok(error instanceof TrainingError, `${error}`);
      assert.match(error.message, /^Training failed in stage source\. The GPU device was lost/);
      assert.doesNotMatch(error.message, /memory|\n/);
      return true;
    });
  }));

Deno.test("the metrics are on the disk before the checkpoint that counts on them", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, { pipeline: ["source"] });
    const calls = await fileCallsOf(async () => void await train(config));
    const metrics = join(config.out, "metrics.jsonl");
    const path = join(config.out, "checkpoints", "source.safetensors");
    const renamed = calls.indexOf(`rename ${path}.partial to ${path}`);
    assert.ok(renamed > 0, calls.join("\n"));
    const written = calls.lastIndexOf(`write ${metrics}`, renamed);
    const synced = calls.lastIndexOf(`sync ${metrics}`, renamed);
    assert.ok(written >= 0 && synced > written, calls.join("\n"));
    assert.ok(calls.indexOf(`write ${path}.partial`) > synced, "the checkpoint comes after them");
    assert.ok(calls.lastIndexOf(`sync ${path}.partial`, renamed) > synced);
    assert.equal(calls[renamed + 1], `sync ${join(config.out, "checkpoints")}`);
  }));

Deno.test("a run that goes on on another adapter says that its bits may differ", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, { pipeline: ["source"] });
    await train(config);
    const resume = async () => {
      const heard: string[] = [];
      const hear = listener((text) => heard.push(text));
      await resumeTraining(config.out, await testGpu(), hear, signal);
      return heard.filter((text) => text.includes("bits"));
    };
    assert.deepEqual(await resume(), []);
    const path = join(config.out, "result.json");
    const result = JSON.parse(Deno.readTextFileSync(path));
    const begun = { started: "2026-01-02T03:04:05Z", version: "0.0.9" };
    const earlier = { ...result, ...begun, adapter: "another GPU" };
    Deno.writeTextFileSync(path, JSON.stringify(earlier));
    const [note, ...others] = await resume();
    assert.match(note, /^NOTE: [^\n]*"another GPU" so far[^\n]*bits may differ[^\n]*$/);
    assert.deepEqual(others, []);
    const { started, version } = JSON.parse(Deno.readTextFileSync(path));
    assert.deepEqual({ started, version }, begun, "it began when it began");

    Deno.removeSync(path);
    await resume();
    assert.ok(!("started" in JSON.parse(Deno.readTextFileSync(path))), "nobody knows any more");
  }));
