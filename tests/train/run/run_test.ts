// Whole runs of all stages, a few steps each on a handful of tiny images.

import assert from "node:assert/strict";
import { join } from "node:path";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { VERSION } from "../../../train/base/version.ts";
import { CLASSES, STREETS_TRAIN_IDS } from "../../../train/data/classes.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import type { StageName } from "../../../train/stages/kinds.ts";
import { readImage } from "../../../train/images/image.ts";
import type { RunResult, TrainingObserver } from "../../../train/run/observer.ts";
import { runTraining } from "../../../train/run/run.ts";
import { RunFolder } from "../../../train/run/run_folder.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { assertSame } from "../../_same.ts";

const LOSSES = {
  source: ["source"],
  warmup: ["source", "adversarial", "discriminator"],
  stage1: ["source", "symmetric", "structure", "regulariser"],
  stage2: ["source", "pseudo", "distillation"],
  stage3: ["source", "pseudo", "distillation"],
};
const STAGES = ["source", "warmup", "stage1", "stage2", "stage3"] as const;
const STREET_NAMES = STREETS_TRAIN_IDS.map((id) => CLASSES[id].name);
const STEPS = 2;

/** A run in a folder beside its data, which all runs of a test share. */
function tinyConfig(folder: string, name: string, values: Record<string, unknown>): RunConfig {
  const stage = { steps: STEPS, scheduleSteps: STEPS };
  const streets = {
    directory: join(folder, "streets"),
    width: 64,
    height: 32,
    sourceTrain: 4,
    targetTrain: 4,
    targetVal: 2,
    sourceVal: 1,
    targetChoose: 1,
  };
  return mergeConfig(presetConfig("quick"), {
    values: {
      out: join(folder, name),
      pipeline: [...STAGES],
      // Networks of a few steps are good or bad by chance.
      handOn: "last",
      finalStatistics: "own",
      network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
      data: {
        heldOut: { share: 0 },
        batch: 2,
        cropHeight: 32,
        cropWidth: 48,
        longSide: 64,
        streets,
      },
      stages: {
        source: stage,
        warmup: { ...stage, discriminatorPlanes: 4 },
        stage1: stage,
        stage2: { ...stage, studentStart: "supervised" },
        stage3: { ...stage, studentStart: "teacher" },
      },
      ...values,
    },
    from: "the test",
  });
}

/** What a run told, in order. */
class Witness implements TrainingObserver {
  readonly heard: string[] = [];
  readonly #listen: (text: string) => void;

  constructor(listen: (text: string) => void = () => {}) {
    this.#listen = listen;
  }

  #hear(text: string): void {
    this.heard.push(text);
    this.#listen(text);
  }

  stageStart: TrainingObserver["stageStart"] = ({ name, steps, firstStep }) =>
    this.#hear(`start ${name} ${firstStep} to ${steps}`);
  step: TrainingObserver["step"] = ({ stage, step }) => this.#hear(`step ${stage} ${step}`);
  evaluation: TrainingObserver["evaluation"] = ({ stage, step }) =>
    this.#hear(`evaluation ${stage} ${step}`);
  stageEnd: TrainingObserver["stageEnd"] = ({ name }) => this.#hear(`end ${name}`);
  message: TrainingObserver["message"] = (text) => this.#hear(`message ${text}`);
}

/** Runs, and checks that nothing stays on the GPU. */
async function run(
  config: RunConfig,
  witness = new Witness(),
  signal = new AbortController().signal,
): Promise<RunResult> {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  try {
    return await runTraining(config, gpu, witness, signal);
  } finally {
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }
}

function metricsOf({ out }: RunConfig): Record<string, unknown>[] {
  const lines = Deno.readTextFileSync(join(out, "metrics.jsonl")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line));
}

function json(config: RunConfig, name: string): unknown {
  return JSON.parse(Deno.readTextFileSync(join(config.out, name)));
}

/** The bits of a checkpoint's arrays by name. */
function arraysOf({ out }: RunConfig, stage: StageName): Map<string, Uint32Array<ArrayBuffer>> {
  const path = join(out, "checkpoints", `${stage}.safetensors`);
  const file = new Safetensors(Deno.readFileSync(path));
  return new Map([...file.entries].map(([name, { dtype }]) => {
    const values = dtype === "F32" ? file.floats(name) : file.integers(name);
    return [name, new Uint32Array(values.buffer, values.byteOffset, values.length).slice()];
  }));
}

Deno.test("a run writes what its folder is said to hold, and one seed gives the same bits twice", () =>
  withFolder(async (folder) => {
    const config = tinyConfig(folder, "first", { seed: 7 });
    const witness = new Witness();
    const result = await run(config, witness);

    assert.deepEqual(
      witness.heard.filter((text) => !text.startsWith("message")),
      STAGES.flatMap((stage) => [
        `start ${stage} 0 to ${STEPS}`,
        ...Array.from({ length: STEPS }, (_, step) => `step ${stage} ${step}`),
        `evaluation ${stage} ${STEPS}`,
        `end ${stage}`,
      ]),
    );
    assert.deepEqual(namesIn(config.out), [
      "DONE",
      "checkpoints",
      "config.json",
      "confusion",
      "metrics.jsonl",
      "pseudo_labels",
      "result.json",
      "samples",
      "soft_labels",
    ]);
    assert.deepEqual(json(config, "config.json"), config);
    assert.deepEqual(json(config, "result.json"), result);
    assert.deepEqual(Object.keys(result), ["adapter", "seed", "started", "version", "stages"]);
    assert.equal(result.seed, 7);
    assert.ok(result.adapter.length > 0);
    assert.deepEqual(result.stages.map(({ name }) => name), STAGES);

    assert.equal(result.stages.filter(({ handedOn }) => handedOn).length, 1);
    const metrics = metricsOf(config);
    const gpu = await testGpu();
    for (const [index, stage] of STAGES.entries()) {
      const {
        name: _,
        steps,
        seconds,
        waitShare = NaN,
        peakBytes = NaN,
        agreement = NaN,
        predictions,
        causes,
        handedOn: __,
        ...scores
      } = result.stages[index];
      assert.deepEqual(Object.keys(predictions?.shares ?? {}), STREET_NAMES);
      assert.ok(Array.isArray(causes), "it is judged");
      assert.ok(agreement >= 0 && agreement <= 100, `${agreement}`);
      assert.equal(steps, STEPS);
      assert.ok(seconds > 0);
      assert.ok(waitShare >= 0 && waitShare <= 1, `${waitShare}`);
      assert.ok(peakBytes > 2 ** 20, `${peakBytes}`);
      assert.deepEqual(Object.keys(scores.classIoU), STREET_NAMES);
      assert.ok(scores.pixelAccuracy > 0 && scores.pixelAccuracy <= 100);
      const known = Object.values(scores.classIoU).filter((value) => value !== null);
      const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
      assert.ok(Math.abs(scores.mIoU - mean) < 1e-9);

      const records = metrics.slice(index * STEPS, (index + 1) * STEPS);
      for (const [step, record] of records.entries()) {
        const { stage: of, step: at, learningRate, ...rest } = record;
        assert.deepEqual([of, at, typeof learningRate], [stage, step, "number"]);
        const names = [
          ...LOSSES[stage],
          ...(step === STEPS - 1
            ? ["mIoU", "classIoU", "pixelAccuracy", "information", "correlation"]
            : []),
        ];
        assert.deepEqual(Object.keys(rest), names);
      }
      const { mIoU, classIoU, pixelAccuracy, correlation } = records[STEPS - 1];
      assert.deepEqual({ mIoU, classIoU, pixelAccuracy, correlation }, scores);

      const path = join(config.out, "checkpoints", `${stage}.safetensors`);
      using trained = loadTrainedNetwork(gpu, path);
      assert.deepEqual([trained.stage, trained.step], [stage, STEPS]);
      assert.deepEqual(trained.classes.names, STREET_NAMES);
      assert.deepEqual(trained.config, config);

      const sample = readImage(join(config.out, "samples", `${stage}.png`));
      const [rows, columns] = [4, stage === "stage1" ? 4 : 3]; // two white pixels apart
      assert.deepEqual([sample.width, sample.height], [columns * 66 - 2, rows * 34 - 2]);
    }
    assert.equal(metrics.length, STAGES.length * STEPS);
    assert.equal(namesIn(join(config.out, "soft_labels")).length, 4);
    assert.deepEqual(namesIn(join(config.out, "pseudo_labels")), ["stage2", "stage3"]);
    assert.deepEqual(
      namesIn(join(config.out, "samples")),
      STAGES.map((name) => `${name}.png`).sort(),
    );

    const again = tinyConfig(folder, "again", { seed: 7 });
    await run(again);
    for (const stage of STAGES) {
      const [first, second] = [arraysOf(config, stage), arraysOf(again, stage)];
      assert.ok(first.size > 100);
      assert.deepEqual([...second.keys()], [...first.keys()]);
      for (const [name, bits] of first) {
        assertSame(second.get(name), bits, `bits of ${name} in ${stage}`);
      }
    }
    assert.deepEqual(metricsOf(again), metrics);

    const other = tinyConfig(folder, "other", { seed: 8, pipeline: ["source"] });
    await run(other);
    const weights = "network.conv1.weight";
    assert.notDeepEqual(
      arraysOf(other, "source").get(weights),
      arraysOf(config, "source").get(weights),
    );
  }));

Deno.test("a stage starts from the network of the one before, and so does the momentum encoder", () =>
  withFolder(async (folder) => {
    const still = { steps: 1, scheduleSteps: 1, learningRate: 1e-30, emaDecay: 1 };
    const config = tinyConfig(folder, "run", {
      pipeline: ["source", "stage1"],
      stages: { source: { steps: 1, scheduleSteps: 1, rampSteps: 0 }, stage1: still },
    });
    await run(config);
    const [before, after] = [arraysOf(config, "source"), arraysOf(config, "stage1")];
    const floats = (bits: Uint32Array<ArrayBuffer> | undefined) =>
      new Float32Array(bits?.buffer ?? new ArrayBuffer(0));
    const names = [...before.keys()].filter((name) => /^network\..*(weight|bias)$/.test(name));
    assert.ok(names.length > 50);
    for (const name of names) {
      const expected = floats(before.get(name));
      const close = { atol: 1e-20, rtol: 0 };
      assertAllClose(name, floats(after.get(name)), expected, close);
      const ofEncoder = name.replace("network", "encoder");
      assertAllClose(ofEncoder, floats(after.get(ofEncoder)), expected, close);
    }
  }));

/** Stops a run when it says something. */
async function stopAt(config: RunConfig, when: RegExp): Promise<RunResult> {
  const stop = new AbortController();
  const witness = new Witness((text) => when.test(text) && stop.abort());
  return await run(config, witness, stop.signal);
}

Deno.test("a stopped run keeps its finished stages and the step that it stopped after", () =>
  withFolder(async (folder) => {
    const pipeline: StageName[] = ["warmup", "source"];
    const stage = { steps: 3, scheduleSteps: 3 };
    const stages = { warmup: { ...stage, steps: 1, discriminatorPlanes: 4 }, source: stage };
    const config = tinyConfig(folder, "run", { pipeline, stages, logEvery: 1 });
    const result = await stopAt(config, /^step source 1/);
    assert.deepEqual(result.stages.map(({ name }) => name), ["warmup"]);
    assert.deepEqual(json(config, "result.json"), result);
    assert.deepEqual(metricsOf(config).map(({ stage, step }) => [stage, step]), [
      ["warmup", 0],
      ["source", 0],
      ["source", 1],
    ]);
    const path = join(config.out, "checkpoints", "source.safetensors");
    using trained = loadTrainedNetwork(await testGpu(), path);
    assert.deepEqual([trained.stage, trained.step], ["source", 2]);
    RunFolder.open(config.out).close(); // not locked any more
  }));

Deno.test("a stop while soft labels are made is the signal's own error", () =>
  withFolder(async (folder) => {
    const config = tinyConfig(folder, "run", { pipeline: ["stage1"] });
    await assert.rejects(stopAt(config, /^message stage1: soft labels/), { name: "AbortError" });
    const { started, ...rest } = json(config, "result.json") as RunResult;
    assert.deepEqual(rest, {
      adapter: (await testGpu()).adapter.description,
      seed: 0,
      version: VERSION,
      stages: [],
    });
    assert.ok(Math.abs(Date.now() - Date.parse(started ?? "")) < 600_000, `started ${started}`);
    RunFolder.open(config.out).close();
  }));

Deno.test("the oracle trains on the target's labels", () =>
  withFolder(async (folder) => {
    const stages = { oracle: { steps: 1, scheduleSteps: 1 } };
    const config = tinyConfig(folder, "run", { pipeline: ["oracle"], stages });
    const result = await run(config);
    assert.deepEqual(result.stages.map(({ name, steps }) => [name, steps]), [["oracle", 1]]);
    assert.deepEqual(Object.keys(metricsOf(config)[0]).slice(0, 3), ["stage", "step", "source"]);
  }));
