// The judgement on a run's stages: what it measures, what it stops for, and that an interruption changes
// nothing of it.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Gpu } from "../../../kernels/runtime/mod.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { Loader } from "../../../train/data/loader.ts";
import {
  CLASSES_EXCHANGED,
  sentenceOf,
  SOURCE_NOT_LEARNT,
} from "../../../train/evaluation/causes.ts";
import { measure } from "../../../train/evaluation/evaluate.ts";
import { predictionScores, sourceScores } from "../../../train/evaluation/findings.ts";
import { lookAgain } from "../../../train/evaluation/agreement.ts";
import { Checkpoint, writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { type ResumeOptions, resumeTraining, runTraining } from "../../../train/run/run.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import { readRunResult, type RunResult, type StageResult } from "../../../train/run/run_folder.ts";
import { prefixed } from "../../../train/stages/common/stage.ts";
import { TrainingError } from "../../../train/run/training_error.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";
import { halvesIn } from "./_halves.ts";

const { signal } = new AbortController();
const PIPELINE = ["source", "warmup"] as const;

/** Values of a run on streets that learns nothing, measured on the source's val split. */
function unlearnt(folder: string, name: string): Record<string, unknown> {
  const tiny = tinyConfig(folder) as unknown as RunConfig;
  const still = { learningRate: 1e-9 };
  return {
    ...tiny,
    out: join(folder, name),
    pipeline: [...PIPELINE],
    data: { ...tiny.data, heldOut: { share: 0.05 } },
    stages: {
      source: { ...tiny.stages.source, ...still },
      warmup: { ...tiny.stages.warmup, ...still },
      oracle: { ...tiny.stages.source, ...still },
    },
  };
}

function configOf(...layers: readonly object[]): RunConfig {
  return mergeConfig(
    presetConfig("default"),
    ...layers.map((values) => ({ values, from: "the test" })),
  );
}

const run = async (
  config: RunConfig,
  options: ResumeOptions = {},
  observer: TrainingObserver = SILENT,
): Promise<RunResult> => runTraining(config, await testGpu(), observer, signal, options);

const resume = async (
  path: string,
  options: ResumeOptions = {},
  observer: TrainingObserver = SILENT,
  until: AbortSignal = signal,
): Promise<RunResult> => resumeTraining(path, await testGpu(), observer, until, options);

/** For `assert.rejects`: the run has stopped after a stage. */
function stoppedAfter(stage: string, folder: string) {
  return (error: unknown) => {
    assert.ok(error instanceof TrainingError, `${error}`);
    assert.deepEqual(error.options, ["resume", "keepGoing"]);
    const [cause] = readRunResult(folder)?.stages.at(-1)?.causes ?? [];
    assert.equal(cause.name, SOURCE_NOT_LEARNT);
    assert.ok(error.message.startsWith(`Training stopped after stage ${stage}. `), error.message);
    assert.ok(error.message.includes(sentenceOf(cause)), error.message);
    assert.ok(error.message.includes(`resume ${folder} and keep going`), error.message);
    return true;
  };
}

/** Notes messages, and asks for a stop in a step of a stage. */
function listener(
  messages: string[],
  stopIn?: { readonly stage: string; readonly step: number; readonly stop: AbortController },
): TrainingObserver {
  return {
    ...SILENT,
    message: (text) => messages.push(text),
    step: ({ stage, step }) => {
      if (stage === stopIn?.stage && step === stopIn.step) stopIn.stop.abort();
    },
  };
}

Deno.test("a run that has not learnt the source stops after that stage, until it is told to keep going", () =>
  withFolder(async (folder) => {
    const config = configOf(unlearnt(folder, "stopped"));
    await assert.rejects(run(config), stoppedAfter("source", config.out));
    const saved = readRunResult(config.out);
    assert.deepEqual(saved?.stages.map(({ name }) => name), ["source"]);
    assert.ok(existsSync(join(config.out, "checkpoints", "source.safetensors")));
    assert.ok(existsSync(join(config.out, "samples", "source.png")));
    await assert.rejects(resume(config.out), stoppedAfter("source", config.out));
    assert.deepEqual(readRunResult(config.out), saved, "to ask again changes nothing");

    const messages: string[] = [];
    const stop = new AbortController();
    const stopping = listener(messages, { stage: "warmup", step: 1, stop });
    await resume(config.out, { keepGoing: true }, stopping, stop.signal);
    const [cause] = saved?.stages[0].causes ?? [];
    assert.ok(messages.includes(`WARNING after source: ${sentenceOf(cause)}`), messages.join("\n"));
    assert.ok(
      !existsSync(join(config.out, "samples", "warmup.png")),
      "it was stopped in the middle",
    );
    const result = await resume(config.out); // it remembers
    assert.equal(result.keepGoing, true);
    assert.deepEqual(result.stages.map(({ name }) => name), PIPELINE);
    assert.deepEqual(
      result.stages.map(({ causes }) => causes?.[0].name),
      [SOURCE_NOT_LEARNT, SOURCE_NOT_LEARNT],
      "the next stage has not learnt it either",
    );
    await resume(config.out); // nothing is left to do, and to say

    const whole = { ...config, out: join(folder, "whole") };
    assert.deepEqual(Object.keys(await run(whole, { keepGoing: true })), Object.keys(result));
    assertSameOutcome(outcomeOf(config.out, PIPELINE), outcomeOf(whole.out, PIPELINE));
  }));

Deno.test("an interruption in the middle of a stage changes neither its bits nor its judgement", () =>
  withFolder(async (folder) => {
    const config = configOf(unlearnt(folder, "interrupted"), { pipeline: ["source"] });
    const stop = new AbortController();
    const stopping = listener([], { stage: "source", step: 0, stop });
    await runTraining(config, await testGpu(), stopping, stop.signal);
    assert.deepEqual(readRunResult(config.out)?.stages, [], "it was stopped in the middle");
    await assert.rejects(resume(config.out), stoppedAfter("source", config.out));
    const whole = { ...config, out: join(folder, "whole") };
    await assert.rejects(run(whole), stoppedAfter("source", whole.out));
    assertSameOutcome(outcomeOf(config.out, ["source"]), outcomeOf(whole.out, ["source"]));
  }));

Deno.test("a stage is compared with the result of the one before, also where the run goes on", () =>
  withFolder(async (folder) => {
    const none = { data: { heldOut: { share: 0 } } };
    const config = configOf(unlearnt(folder, "compared"), none);
    const stop = new AbortController();
    const stopping = listener([], { stage: "warmup", step: 0, stop });
    await runTraining(config, await testGpu(), stopping, stop.signal);
    const before = readRunResult(config.out) ?? assert.fail();
    const [stage] = before.stages;
    const predictions = { ...stage.predictions, confidence: 0, agreement: 100 };
    const path = join(config.out, "result.json");
    const stages = [{ ...stage, predictions }];
    Deno.writeTextFileSync(path, JSON.stringify({ ...before, stages }));
    const result = await resume(config.out);
    const names = result.stages.map(({ causes }) => causes?.map(({ name }) => name));
    assert.deepEqual(names, [[], ["surer but less consistent"]]);
  }));

Deno.test("a stage is to remember the source, unless its statistics are the target's alone", () =>
  withFolder(async (folder) => {
    for (const [statistics, causes] of [["both", ["source forgotten"]], ["target", []]] as const) {
      const config = configOf(unlearnt(folder, statistics), {
        pipeline: ["source", "stage1"],
        stages: { stage1: { statistics, learningRate: 1e-9, steps: 2, scheduleSteps: 2 } },
      });
      const stop = new AbortController();
      const stopping = listener([], { stage: "stage1", step: 0, stop });
      await runTraining(config, await testGpu(), stopping, stop.signal, { keepGoing: true });
      const before = readRunResult(config.out) ?? assert.fail();
      const [{ source, ...stage }] = before.stages;
      const stages = [{ ...stage, source: { ...source, mIoU: 90 }, causes: [] }]; // as if it had learnt
      Deno.writeTextFileSync(
        join(config.out, "result.json"),
        JSON.stringify({ ...before, stages }),
      );
      const { stages: [, stage1] } = await resume(config.out);
      const names = stage1.causes?.map(({ name }) => name).filter((name) => /source/.test(name));
      assert.deepEqual(names, causes, statistics);
    }
  }));

Deno.test("a run does not go on with other held-out images than before", () =>
  withFolder(async (folder) => {
    const values = unlearnt(folder, "changed");
    const config = configOf(values, { pipeline: ["source"] });
    await assert.rejects(run(config), TrainingError);
    const { source, sourceValidation } = await openRunData(config.data, () => {});
    const label = sourceValidation?.items[0].label ?? assert.fail("none is held out");
    Deno.copyFileSync(source.items[0].label ?? "", label);
    await assert.rejects(resume(config.out), dataError("data have changed", label));
  }));

Deno.test("a run says that it has too few source images to hold some out, and is not judged by them", () =>
  withFolder(async (folder) => {
    const halves = halvesIn(folder, { source: { train: 19 }, target: { train: 3, val: 2 } });
    const config = configOf(unlearnt(folder, "few"), {
      data: halves,
    });
    const messages: string[] = [];
    const { stages } = await run(config, {}, listener(messages));
    assert.ok(
      messages.some((text) => text.startsWith("19 source images are too few")),
      `${messages}`,
    );
    assert.deepEqual(stages.map(({ source, causes }) => [source, causes]), [[undefined, []], [
      undefined,
      [],
    ]]);
    const silent: string[] = [];
    const none = { ...config, out: join(folder, "none") };
    none.data = { ...none.data, heldOut: { share: 0, images: 1 } };
    await run(none, {}, listener(silent));
    assert.ok(!silent.some((text) => text.includes("too few")), "where none is wanted");
  }));

Deno.test("a stage that learns the target's own labels, and one after another run's, are not judged by the source", () =>
  withFolder(async (folder) => {
    const oracle = configOf(unlearnt(folder, "oracle"), { pipeline: ["oracle"] });
    const [{ causes, predictions }] = (await run(oracle)).stages;
    assert.deepEqual([causes, predictions], [undefined, undefined]);
    const base = configOf(unlearnt(folder, "base"), { pipeline: ["source"] });
    await assert.rejects(run(base), stoppedAfter("source", base.out));
    const after = configOf(unlearnt(folder, "after"), { pipeline: ["warmup"], base: base.out });
    const { stages } = await run(after);
    assert.ok(!stages[0].causes?.some(({ name }) => name === SOURCE_NOT_LEARNT));
  }));

Deno.test("a run that learns its source is measured on it at every evaluation, and gives no cause", () =>
  withFolder(async (folder) => {
    const halves = halvesIn(folder, { source: { train: 20 }, target: { train: 6, val: 7 } });
    const schedule = { steps: 40, scheduleSteps: 40, rampSteps: 0 };
    const config = configOf({
      out: join(folder, "run"),
      pipeline: [...PIPELINE],
      evalEvery: 30,
      finalStatistics: "own", // records are of what the network has trained with
      network: { width: 4, headChannels: 8, groups: 4, dilations: [1] },
      data: {
        ...halves,
        heldOut: { share: 0.2, images: 3 },
        cropHeight: 32,
        cropWidth: 64,
        longSide: 64, // twice what the images have
      },
      stages: {
        source: { ...schedule, learningRate: 0.1 },
        warmup: { ...schedule, steps: 2, learningRate: 0.01, discriminatorPlanes: 4 },
      },
    });
    const evaluations: (number | undefined)[] = [];
    const { stages } = await run(config, {}, {
      ...SILENT,
      evaluation: ({ source }) => evaluations.push(source?.mIoU),
    });
    assert.deepEqual(stages.map(({ causes }) => causes), [[], []]);
    const lines = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).trim().split("\n");
    const records = lines.map((line) => JSON.parse(line)).filter(({ sourceMIoU }) => sourceMIoU);
    assert.deepEqual(records.map(({ stage, step }) => `${stage} ${step}`), [
      "source 29",
      "source 39",
      "warmup 1",
    ]);
    assert.deepEqual(evaluations, records.map(({ sourceMIoU }) => sourceMIoU));

    const gpu = await testGpu();
    const { sourceValidation, validation } = await openRunData(config.data, () => {});
    assert.equal(sourceValidation?.items.length, 3);
    const { longSide } = config.data;
    for (const [index, name] of PIPELINE.entries()) {
      const path = join(config.out, "checkpoints", `${name}.safetensors`);
      using trained = loadTrainedNetwork(gpu, path);
      const { network, classes: { names } } = trained;
      using sources = new Loader({ dataset: sourceValidation, order: "sequential" });
      const { confusion } = await measure(network, sources, longSide);
      const { source, predictions } = stages[index];
      assert.deepEqual(source, sourceScores(names, confusion));
      assert.ok(source.mIoU > 60, `${name} is to learn the halves: ${source.mIoU}`);
      const record = records[index + 1];
      assert.deepEqual(
        [record.sourceMIoU, record.sourceClassIoU, record.sourcePixelAccuracy],
        [source.mIoU, source.classIoU, source.pixelAccuracy],
      );
      using targets = new Loader({ dataset: validation, order: "sequential" });
      const { confidence } = await measure(network, targets, longSide);
      const sights = await lookAgain(network, validation, longSide);
      assert.deepEqual(predictions, predictionScores(names, sights, confidence));
    }
  }));

Deno.test("a stage in which classes change places is not handed on, and neither is what follows it", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const halves = halvesIn(folder, { source: { train: 20 }, target: { train: 6, val: 7 } });
    const schedule = { steps: 40, scheduleSteps: 40, rampSteps: 0 };
    const few = { steps: 2, scheduleSteps: 2, rampSteps: 0, learningRate: 1e-4 };
    const names = ["source", "warmup", "stage1", "stage2"];
    const config = configOf({
      out: join(folder, "run"),
      pipeline: names,
      handOn: "last",
      finalStatistics: "own",
      network: { width: 4, headChannels: 8, groups: 4, dilations: [1] },
      data: {
        ...halves,
        heldOut: { share: 0, images: 50 },
        cropHeight: 32,
        cropWidth: 64,
        longSide: 160, // many features
      },
      stages: {
        source: { ...schedule, learningRate: 0.1 },
        warmup: { ...few, discriminatorPlanes: 4 },
        stage1: few,
        stage2: few,
      },
    });
    const right = await run(config);
    const namesOf = ({ causes = [] }: StageResult) => causes.map(({ name }) => name);
    assert.ok(right.stages.every((stage) => !namesOf(stage).includes(CLASSES_EXCHANGED)));
    assert.equal(right.stages.at(-1)?.handedOn, true);

    // As if the warm-up had called dark what all later networks call bright.
    const checkpoint = (name: string) => join(config.out, "checkpoints", `${name}.safetensors`);
    const warmUp = Deno.readFileSync(checkpoint("warmup"));
    await exchangeClasses(gpu, checkpoint("warmup"));
    const path = join(config.out, "result.json");
    Deno.writeTextFileSync(path, JSON.stringify({ ...right, stages: right.stages.slice(0, 2) }));
    Deno.removeSync(checkpoint("stage2"));
    const messages: string[] = [];
    const { stages } = await resume(config.out, {}, listener(messages));
    assert.deepEqual(stages.map(({ name }) => name), names);
    assert.deepEqual(
      stages.map((stage) => namesOf(stage).includes(CLASSES_EXCHANGED)),
      [false, false, true, true],
      "stage 2 too is compared with the warm-up's network, not with that of stage 1",
    );
    const handedOn = stages.map((stage) => stage.handedOn);
    assert.deepEqual(handedOn, [undefined, true, undefined, undefined]);
    const cause = stages[2].causes?.find(({ name }) => name === CLASSES_EXCHANGED);
    assert.match(cause?.found ?? "", /network of warmup .*: dark and bright$/);
    assert.ok(messages.some((text) => /^the network of warmup is handed on, not/.test(text)));

    // The warm-up itself learns labels of the source alone: it may name the classes anew.
    await exchangeClasses(gpu, checkpoint("source"));
    Deno.writeTextFileSync(path, JSON.stringify({ ...right, stages: right.stages.slice(0, 1) }));
    for (const name of ["stage1", "stage2"]) Deno.removeSync(checkpoint(name));
    Deno.writeFileSync(checkpoint("warmup"), warmUp);
    const again = await resume(config.out);
    assert.ok(again.stages.every((stage) => !namesOf(stage).includes(CLASSES_EXCHANGED)));
  }));

/** Exchanges the two classes of the network in a checkpoint. */
async function exchangeClasses(gpu: Gpu, path: string): Promise<void> {
  using trained = loadTrainedNetwork(gpu, path);
  const weights = trained.network.stateDict();
  for (const [name, array] of weights) {
    if (!/head\.1\.(weight|bias)$/.test(name) || array.shape[0] !== 2) continue;
    const [own, half] = [await array.read(), array.size / 2];
    gpu.write(array, Float32Array.from(own, (_, i) => own[(i + half) % own.length]));
  }
  using checkpoint = new Checkpoint(path);
  await writeCheckpoint(path, prefixed("network", weights), checkpoint.state);
}

Deno.test("the command line ends an unlearnt run with exit code 3 and the flags of the way out", () =>
  withFolder(async (folder) => {
    const file = join(folder, "config.json");
    Deno.writeTextFileSync(file, JSON.stringify(unlearnt(folder, "ignored")));
    const out = join(folder, "run");
    const stopped = await runProgram("train", "--config", file, "--out", out);
    assert.equal(stopped.code, 3, stopped.stderr);
    assert.match(stopped.stderr, /^Training stopped after stage source\. [^\n]+\n$/);
    assert.match(stopped.stderr, / \(--resume, --keep-going\)\n$/);
    assert.match(stopped.stdout, /^source: 4 steps .* source mIoU \d+\.\d %$/m);
    assert.doesNotMatch(stopped.stdout, /WARNING/, "it is said once");
    const again = await runProgram("train", "--resume", out);
    assert.deepEqual([again.code, again.stderr], [3, stopped.stderr]);
    const going = await runProgram("train", "--resume", out, "--keep-going");
    assert.equal(going.code, 0, going.stderr);
    const warning = /^WARNING after (source|warmup): The source is not learnt: [^\n]+; /gm;
    assert.deepEqual([...going.stdout.matchAll(warning)].map(([, name]) => name), PIPELINE);
    assert.match(going.stdout, /^mIoU of source +\d+\.\d +\d+\.\d$/m);

    const other = join(folder, "other");
    const flags = ["--config", file, "--out", other, "--keep-going", "--json"];
    const whole = await runProgram("train", ...flags);
    assert.equal(whole.code, 0, whole.stderr);
    const { stages, keepGoing }: RunResult = JSON.parse(whole.stdout);
    assert.deepEqual([stages.length, keepGoing], [2, true]);
  }));
