// What a run does between its configuration and its stages is what direct calls with the same settings do.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { Loader } from "../../../train/data/loader.ts";
import { evaluationOf, measure } from "../../../train/evaluation/evaluate.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { runTraining } from "../../../train/run/run.ts";
import { Solo } from "../../../train/parallel/solo.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import type { RunResult } from "../../../train/run/run_folder.ts";
import { stageContext } from "../../../train/run/stage_context.ts";
import type { AnySettings, RunContext } from "../../../train/stages/common/kind.ts";
import type { DenoiseBatch } from "../../../train/stages/denoise/denoise.ts";
import { releaseBatch } from "../../../train/stages/common/batch.ts";
import { Batches } from "../../../train/stages/common/batches.ts";
import { labelTargetInto } from "../stages/denoise/_label_target.ts";
import { writePseudoLabels } from "../../../train/stages/distil/pseudo_labels.ts";
import { kindOf } from "../../../train/stages/kinds.ts";
import { testGpu } from "../../_device.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";
import { SILENT } from "../_observer.ts";
import { estimateFrom } from "../_estimate.ts";

const { signal } = new AbortController();

/** A tiny configuration with some values in another way. */
function configOf(folder: string, ...layers: readonly object[]): RunConfig {
  const all = [tinyConfig(folder, 1), ...layers];
  return mergeConfig(presetConfig("default"), ...all.map((values) => ({ values, from: "test" })));
}

const run = async (config: RunConfig): Promise<RunResult> =>
  await runTraining(config, await testGpu(), SILENT, signal);

/** Holds two folders to the same files, byte by byte. */
function assertSameFiles(found: string, expected: string): void {
  assert.deepEqual(namesIn(found), namesIn(expected));
  for (const name of namesIn(expected)) {
    const [one, other] = [join(found, name), join(expected, name)];
    if (Deno.statSync(other).isDirectory) assertSameFiles(one, other);
    else assert.ok(Buffer.compare(Deno.readFileSync(one), Deno.readFileSync(other)) === 0, one);
  }
}

Deno.test("soft labels, pseudo labels and scores are those of direct calls, at the size that a run is told", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const longSide = 96; // images are 64 pixels wide
    const config = configOf(folder, {
      out: join(folder, "run"),
      pipeline: ["source", "warmup", "stage1", "stage2"],
      data: { longSide },
      stages: {
        stage1: { statistics: "both" },
        stage2: { statistics: "target", studentStart: "teacher", threshold: 0.3, keep: 0.4 },
      },
    });
    const result = await run(config);
    const data = await openRunData(config.data, () => {});
    const trained = (stage: string) =>
      loadTrainedNetwork(gpu, join(config.out, "checkpoints", `${stage}.safetensors`));
    using warmUp = trained("warmup");
    const soft = join(folder, "soft");
    const { bank } = await labelTargetInto(soft, warmUp.network, data.target, { longSide });
    bank.dispose();
    assertSameFiles(join(config.out, "soft_labels"), soft);

    using stage1 = trained("stage1");
    const scoreAt = async (size: number) => {
      using loader = new Loader({ dataset: data.validation, order: "sequential" });
      return evaluationOf(await measure(stage1.network, loader, size)).pixelAccuracy;
    };
    const { pixelAccuracy } = result.stages.find(({ name }) => name === "stage1") ?? assert.fail();
    assert.equal(pixelAccuracy, await scoreAt(longSide));
    assert.notEqual(pixelAccuracy, await scoreAt(64), "another size is seen in the score");

    await estimateFrom(stage1.network, data.target, longSide, signal);
    const pseudo = join(folder, "pseudo");
    const { threshold, keep } = config.stages.stage2;
    const options = { folder: pseudo, classes: data.classes, threshold, keep, longSide, signal };
    await writePseudoLabels(stage1.network, data.target, options);
    assertSameFiles(join(config.out, "pseudo_labels", "stage2"), pseudo);
  }));

Deno.test("prototypes start as their own settings say, whatever those of their moves", () =>
  withFolder(async (folder) => {
    const base = configOf(folder, { out: join(folder, "base"), pipeline: ["source", "warmup"] });
    await run(base);
    let runs = 0;
    const startOf = async (stage1: object) => {
      const config = configOf(folder, {
        out: join(folder, `${runs++}`),
        base: base.out,
        pipeline: ["stage1"],
        data: { longSide: 48, cropHeight: 48, cropWidth: 64 }, // views reach beyond their images
        stages: { stage1: { ...stage1, prototypeDecay: 1 } }, // so that they stay
      });
      await run(config);
      const path = join(config.out, "checkpoints", "stage1.safetensors");
      const file = new Safetensors(Deno.readFileSync(path));
      const names = [...file.entries.keys()].filter((name) => name.startsWith("prototypes."));
      assert.ok(names.length > 0);
      return names.map((name) => `${name} ${file.floats(name).join()}`).join("\n");
    };
    const starts = new Set<string>();
    for (
      const own of [
        { prototypeStart: "paper", padding: "masked" },
        { prototypeStart: "official", padding: "masked" },
        { prototypeStart: "official", padding: "counted" },
      ]
    ) {
      const start = await startOf({ ...own, prototypeUpdate: "paper" });
      assert.equal(await startOf({ ...own, prototypeUpdate: "official" }), start);
      starts.add(start);
    }
    assert.equal(starts.size, 3);
  }));

Deno.test("stage 1 by the released code asks for four passes, and sees images as large as evaluation does", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const stage1 = { prototypeStart: "official", encoderView: "whole" };
    const config = configOf(folder, { data: { longSide: 96 }, stages: { stage1 } });
    const { cropHeight, cropWidth, longSide, scales, flip, batch } = config.data;
    const data = await openRunData(config.data, () => {});
    const { source, target, classes } = data;
    using network = new DeepLab(gpu, { ...config.network, init: "he", classes: 8 });
    using sources = new Loader({ dataset: source, order: "sequential" });
    using targets = new Loader({ dataset: target, order: "sequential" });
    const view = { crop: { height: cropHeight, width: cropWidth }, longSide, scales, flip };
    const batches = new Batches({ seed: 0, stage: "stage1", view, gpu, batch }, sources, targets);
    const asked: number[] = [];
    const { stage, nextBatch } = await kindOf("stage1").prepare({
      ...stageContext({ config, gpu, network }, "stage1"),
      target,
      classes,
      longSide,
      ranks: new Solo(),
      isResumed: false,
      made: null,
      signal,
      message: () => {},
      pathOf: (...names) => join(folder, ...names),
      adaptStatistics: () => Promise.resolve(),
      weakViews(passes) {
        asked.push(passes);
        return async function* () {
          yield await batches.nextTarget();
        }();
      },
      returnToStart: () => {},
      loadBackbone: () => {},
    });
    assert.deepEqual(asked, [4]);
    const made = await nextBatch(batches) as DenoiseBatch;
    const { images, views } = made.target.whole ?? assert.fail();
    assert.deepEqual(images.map(({ shape }) => [...shape]), Array(batch).fill([1, 3, 48, 96]));
    assert.equal(views.length, batch);
    releaseBatch(made);
    stage[Symbol.dispose]();
  }));

Deno.test("each stage has views of its own, and only where views are drawn", () =>
  withFolder(async (folder) => {
    const whole = {
      cropHeight: 32,
      cropWidth: 64,
      longSide: 64,
      scales: [1, 1],
      flip: 0,
      batch: 1,
    };
    const streets = { sourceTrain: 1, targetTrain: 1, directory: join(folder, "one") };
    const student = { studentStart: "teacher", featureNorm: false, statistics: "both" };
    const common = {
      network: { dropout: 0 },
      data: { ...whole, streets },
      stages: { stage2: student, stage3: student },
    };
    const base = configOf(folder, common, {
      out: join(folder, "base"),
      pipeline: ["source", "warmup", "stage1"],
    });
    await run(base);
    /** The loss of the first step on the one source image. */
    const lossOf = async (stage: string, data: object, name: string) => {
      const out = join(folder, `${name} ${stage}`);
      await run(configOf(folder, common, { out, base: base.out, pipeline: [stage], data }));
      const [line] = Deno.readTextFileSync(join(out, "metrics.jsonl")).split("\n");
      return JSON.parse(line).source;
    };
    const drawn = { flip: 0.5, scales: [0.5, 1.5], cropWidth: 48 };
    assert.equal(await lossOf("stage2", {}, "same"), await lossOf("stage3", {}, "same"));
    assert.notEqual(await lossOf("stage2", drawn, "own"), await lossOf("stage3", drawn, "own"));
  }));

for (
  const [stage, prefix, what] of [
    ["warmup", "discriminator.", "the discriminator"],
    ["selfsup", "projection.", "the projection"],
  ] as const
) {
  Deno.test(`the seed of a run reaches the first weights of ${what}`, async () => {
    const gpu = await testGpu();
    const firstWeights = async (seed: number) => {
      const config = configOf("nowhere", { seed });
      using network = new DeepLab(gpu, { ...config.network, classes: 8, init: "none" });
      const context = stageContext({ config, gpu, network }, stage) as RunContext<AnySettings>;
      const { stage: made } = await kindOf(stage).prepare(context);
      const own = [...made.state()].filter(([name]) => name.startsWith(prefix));
      assert.ok(own.length > 0, [...made.state().keys()].join());
      const values = await Promise.all(own.map(([, array]) => array.read()));
      made[Symbol.dispose]();
      if (made.network !== network) made.network.dispose();
      return values.map((array) => array.join()).join("\n");
    };
    assert.equal(await firstWeights(1), await firstWeights(1));
    assert.notEqual(await firstWeights(1), await firstWeights(2));
  });
}
