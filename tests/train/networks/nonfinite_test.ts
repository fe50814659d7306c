// Weights that are NaN or infinite, wherever weights come from a file or are about to go into one.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { CLASSES, STREETS_TRAIN_IDS } from "../../../train/data/classes.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { Checkpoint, writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import { writeOnnx } from "../../../train/networks/export_onnx.ts";
import { predictFolder } from "../../../train/networks/predict.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { DivergenceError } from "../../../train/run/divergence_error.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";
import { SILENT } from "../_observer.ts";

const { signal } = new AbortController();
const NAME = "layer2.0.conv2.weight";

/** A run of two steps of one stage. */
async function run(folder: string, values: Record<string, unknown> = {}): Promise<RunConfig> {
  const config = mergeConfig(presetConfig("default"), {
    values: { ...tinyConfig(folder, 2), out: join(folder, "run"), pipeline: ["source"] },
    from: "the test",
  }, { values, from: "the test" });
  await runTraining(config, await testGpu(), SILENT, signal);
  return config;
}

/** Sets one number of a checkpoint and seals it again, as a training would that has diverged. */
async function spoil(path: string, value: number, to = path): Promise<void> {
  const gpu = await testGpu();
  const file = new Safetensors(Deno.readFileSync(path));
  using checkpoint = new Checkpoint(path);
  const arrays = new Map<string, GpuArray>();
  for (const [name, { shape }] of file.entries) {
    const values = file.floats(name).slice();
    if (name === `network.${NAME}`) values[7] = value;
    arrays.set(name, gpu.upload(values, shape, name));
  }
  await writeCheckpoint(to, arrays, checkpoint.state);
  for (const array of arrays.values()) array.release();
}

Deno.test("a network with NaN or infinite weights is not evaluated, predicted with or exported", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { out } = await run(folder);
    const path = join(out, "checkpoints", "source.safetensors");
    const file = new Safetensors(Deno.readFileSync(path));
    const plain = join(folder, "plain.safetensors");
    const before = gpu.memory.live;
    for (const value of [NaN, Infinity, -Infinity]) {
      const checkpoint = join(folder, "spoilt.safetensors");
      await spoil(path, value, checkpoint);
      const weights = new Map(
        [...file.entries].filter(([name]) => name.startsWith("network.")).map(([name, entry]) => {
          const data = file.floats(name).slice();
          if (name === `network.${NAME}`) data[7] = value;
          return [name.slice("network.".length), { shape: entry.shape, data }];
        }),
      );
      Deno.writeFileSync(plain, writeSafetensors(weights));
      const config = join(folder, "names.json");
      Deno.writeTextFileSync(
        config,
        JSON.stringify({
          network: { groups: 4, dilations: [1, 2] },
          data: { classes: STREETS_TRAIN_IDS.map((id) => CLASSES[id].name) },
        }),
      );
      for (const [spoilt, own] of [[checkpoint, undefined], [plain, config]] as const) {
        const expected = dataError(spoilt, NAME, `${value} as number 7 of`, "finite", "diverged");
        assert.throws(() => loadTrainedNetwork(gpu, spoilt, own), expected);
        const onnx = join(folder, "a.onnx");
        assert.throws(() => writeOnnx(spoilt, onnx, { configPath: own }), expected);
        assert.ok(namesIn(folder).every((name) => !name.includes("onnx")), "nothing is left");
      }
    }
    assert.equal(gpu.memory.live, before, "bytes left behind");
    const target = join(folder, "streets", "target", "leftImg8bit", "val");
    const flags = ["--input", target, "--output", join(folder, "pictures")];
    const predicted = await runProgram(
      "predict",
      "--checkpoint",
      plain,
      "--config",
      join(folder, "names.json"),
      ...flags,
    );
    assert.equal(predicted.code, 2);
    assert.match(
      predicted.stderr,
      /^Cannot use weights [^\n]*layer2\.0\.conv2\.weight has [^\n]*\n$/,
    );
    assert.equal(existsSync(join(folder, "pictures")), false);
  }));

Deno.test("a training does not start or go on from NaN weights, and does not blame the learning rate", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = await run(folder);
    const path = join(config.out, "checkpoints", "source.safetensors");
    const spoilt = join(folder, "spoilt.safetensors");
    await spoil(path, NaN, spoilt);
    const start = (values: Partial<RunConfig>) =>
      runTraining({ ...config, out: join(folder, "other"), ...values }, gpu, SILENT, signal);
    await assert.rejects(
      start({ init: spoilt }),
      dataError(spoilt, `network.${NAME} has NaN as number 7`, "earlier checkpoint"),
    );
    assert.equal(existsSync(join(folder, "other")), false);

    await spoil(path, NaN);
    await assert.rejects(
      start({ pipeline: ["warmup"], base: config.out }),
      dataError("source.safetensors", `network.${NAME} has NaN`),
    );
    Deno.removeSync(join(config.out, "result.json"));
    const resumed = resumeTraining(config.out, gpu, SILENT, signal);
    await assert.rejects(resumed, dataError(path, `network.${NAME} has NaN`, "the one before"));
  }));

Deno.test("weights that the last update has made infinite end the run, without a score or a checkpoint", () =>
  withFolder(async (folder) => {
    // The losses are those of the weights before the update, and finite.
    const stage = { steps: 1, scheduleSteps: 1, rampSteps: 0, learningRate: 1e38 };
    for (const [name, pipeline] of [["source", ["source"]], ["selfsup", ["selfsup"]]] as const) {
      const values = {
        pipeline,
        out: join(folder, name),
        stages: { source: stage, selfsup: stage },
      };
      await assert.rejects(run(folder, values), (error: unknown) => {
        assert.ok(error instanceof DivergenceError, `${error}`);
        assert.match(
          error.message,
          new RegExp(`^Training diverged in stage ${name} .*: lower the`),
        );
        return true;
      });
      const left = namesIn(join(folder, name));
      assert.deepEqual(namesIn(join(folder, name, "checkpoints")), [], `${left}`);
      const { stages } = JSON.parse(Deno.readTextFileSync(join(folder, name, "result.json")));
      assert.deepEqual(stages, []);
    }
  }));

Deno.test("weights that are finite and too large for finite logits have no score and no picture", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    // With other images the weight that is spoilt may meet zeros alone.
    const { out } = await run(folder, { data: { rareClassSampling: 0 } });
    const path = join(out, "checkpoints", "source.safetensors");
    await spoil(path, 3e38);
    using trained = loadTrainedNetwork(gpu, path);
    const input = join(folder, "streets", "target", "leftImg8bit", "val");
    const output = join(folder, "pictures");
    await assert.rejects(
      predictFolder(trained, { input, output }),
      dataError("of its logits for", "NaN or infinite", "another checkpoint"),
    );
    assert.deepEqual(namesIn(output), []);
    const { code, stdout, stderr } = await runProgram("eval", "--checkpoint", path);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(
      stderr,
      /^Cannot use the network as \d+ of its logits for .* are NaN or infinite.*\n$/m,
    );
  }));
