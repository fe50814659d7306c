// What students start from, and runs that begin where an earlier one ended.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { runTraining } from "../../../train/run/run.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";
import { assertSame } from "../../_same.ts";
import { SILENT } from "../_observer.ts";

/** A run of one step a stage; the students of stage 2 start from stage selfsup, as {@link tinyConfig} has it. */
function configOf(folder: string, name: string, values: Record<string, unknown>): RunConfig {
  const layers = [{ ...tinyConfig(folder, 1), out: join(folder, name) }, values];
  return mergeConfig(
    presetConfig("quick"),
    ...layers.map((values) => ({ values, from: "the test" })),
  );
}

async function run(config: RunConfig, base: string | null = null) {
  const { signal } = new AbortController();
  return await runTraining({ ...config, base }, await testGpu(), SILENT, signal);
}

function arraysOf(out: string, stage: string): Map<string, Float32Array> {
  const file = new Safetensors(
    Deno.readFileSync(join(out, "checkpoints", `${stage}.safetensors`)),
  );
  return new Map([...file.entries.keys()].map((name) => [name, file.floats(name).slice()]));
}

/** Arrays whose names begin with a prefix, without it: running statistics, or all others. */
function tensorsOf(arrays: Map<string, Float32Array>, prefix: string, areStatistics: boolean) {
  return new Map(
    [...arrays].filter(([name]) =>
      name.startsWith(prefix) && name.includes("running") === areStatistics
    ).map(([name, values]) => [name.slice(prefix.length), values]),
  );
}

/** Parameters by {@link tensorsOf}: statistics move even at a rate of zero. */
function parametersOf(arrays: Map<string, Float32Array>, prefix: string) {
  return tensorsOf(arrays, prefix, false);
}

function assertUnmoved(
  what: string,
  found: Map<string, Float32Array>,
  expected: Map<string, Float32Array>,
): void {
  for (const [name, values] of expected) {
    assertAllClose(`${what} ${name}`, found.get(name) ?? [], values, { atol: 1e-20, rtol: 0 });
  }
}

const isBackbone = (name: string) => !/^(layer5|bn_pretrain)/.test(name);
const backbone = (arrays: Map<string, Float32Array>) =>
  new Map([...arrays].filter(([name]) => isBackbone(name)));

Deno.test("students start from the backbone they are told to, below a teacher of any kind", () =>
  withFolder(async (folder) => {
    const still = { learningRate: 1e-30 };
    const config = configOf(folder, "run", {
      pipeline: ["selfsup", "source", "stage2", "stage3"],
      stages: {
        stage2: { ...still, studentStart: "self-supervised", featureNorm: true },
        stage3: { ...still, studentStart: "supervised", featureNorm: false },
      },
    });
    const result = await run(config);
    assert.deepEqual(result.stages.map(({ name }) => name), ["source", "stage2", "stage3"]);
    assert.deepEqual([result.pretraining?.name, result.pretraining?.steps], ["selfsup", 1]);
    const parameters = (stage: string, prefix: string) =>
      parametersOf(arraysOf(config.out, stage), prefix);
    const [source, selfsup] = [parameters("source", "network."), parameters("selfsup", "network.")];
    assert.ok(source.size > 60 && selfsup.size > 40 && [...selfsup.keys()].every(isBackbone));
    const second = parameters("stage2", "network.");
    assertUnmoved("backbone of stage 2", second, selfsup);
    assertUnmoved("teacher of stage 2", parameters("stage2", "teacher."), source);
    assert.notDeepEqual(second.get("conv1.weight"), source.get("conv1.weight"));
    assert.ok(second.has("bn_pretrain.weight"));
    const third = parameters("stage3", "network.");
    assertUnmoved("backbone of stage 3", third, backbone(source));
    assertUnmoved("teacher of stage 3", parameters("stage3", "teacher."), second);
    assert.ok(!third.has("bn_pretrain.weight"));
    const gpu = await testGpu();
    for (const stage of ["stage2", "stage3"]) {
      const path = join(config.out, "checkpoints", `${stage}.safetensors`);
      using trained = loadTrainedNetwork(gpu, path);
      const names = trained.network.stateDict();
      assert.equal(names.has("bn_pretrain.weight"), stage === "stage2");
    }
    assert.throws(
      () => loadTrainedNetwork(gpu, join(config.out, "checkpoints", "selfsup.safetensors")),
      dataError("selfsup.safetensors", "layer5"),
    );
  }));

Deno.test("a teacher keeps the target's statistics where it has those alone, and gets them where not", () =>
  withFolder(async (folder) => {
    const student = { studentStart: "teacher", featureNorm: false, statistics: "target" } as const;
    const config = configOf(folder, "run", {
      pipeline: ["source", "stage2", "stage3"],
      stages: { stage2: student, stage3: student },
    });
    await run(config);
    const statistics = (stage: string, prefix: string) =>
      tensorsOf(arraysOf(config.out, stage), prefix, true);
    assert.ok(statistics("source", "network.").size > 20);
    assert.notDeepEqual(statistics("stage2", "teacher."), statistics("source", "network."));
    assert.deepEqual(statistics("stage3", "teacher."), statistics("stage2", "network."));
  }));

Deno.test("a run that begins where another ended gives the bits of one run", () =>
  withFolder(async (folder) => {
    const whole = configOf(folder, "whole", { pipeline: ["source", "selfsup", "stage2"] });
    await run(whole);
    const first = configOf(folder, "first", { pipeline: ["source", "selfsup"] });
    await run(first);
    const second = configOf(folder, "second", { pipeline: ["stage2"] });
    const result = await run(second, first.out);
    assert.deepEqual(result.stages.map(({ name }) => name), ["stage2"]);
    assertSame(arraysOf(second.out, "stage2"), arraysOf(whole.out, "stage2"));
    assert.deepEqual(namesIn(join(second.out, "checkpoints")), [
      "selfsup.safetensors",
      "source.safetensors",
      "stage2.safetensors",
    ]);
    assert.ok(!existsSync(join(first.out, "pseudo_labels")), "the earlier run stays as it is");

    const none = configOf(folder, "none", { pipeline: ["source"] });
    await assert.rejects(run(none, first.out), dataError("no checkpoint of a stage before it"));
    assert.ok(!existsSync(none.out), "nothing is left behind");
    const alone = configOf(folder, "alone", { pipeline: ["source", "stage2"] });
    await assert.rejects(run(alone), dataError("selfsup.safetensors is missing", "pipeline"));
  }));
