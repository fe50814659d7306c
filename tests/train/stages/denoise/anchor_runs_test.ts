// Where the anchor of a run comes from, and that runs and plans count with it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { Safetensors } from "../../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../../train/config/config.ts";
import { withPretraining } from "../../../../train/config/pipeline.ts";
import type { RunConfig } from "../../../../train/config/settings.ts";
import { planTraining } from "../../../../train/plan/plan.ts";
import { resumeTraining, runTraining } from "../../../../train/run/run.ts";
import { testGpu } from "../../../_device.ts";
import { assertSame } from "../../../_same.ts";
import { dataError, withFolder } from "../../_folder.ts";
import { SILENT } from "../../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../../_resume.ts";

const { signal } = new AbortController();
const run = async (config: RunConfig) => runTraining(config, await testGpu(), SILENT, signal);

function configOf(folder: string, name: string, ...layers: readonly object[]): RunConfig {
  const own = { out: join(folder, name), pipeline: ["source", "warmup", "stage1"] };
  const short = { data: { cropHeight: 32, cropWidth: 64 } };
  return withPretraining(mergeConfig(
    presetConfig("default"),
    ...[tinyConfig(folder, 3), own, short, ...layers].map((values) => ({ values, from: "test" })),
  ));
}

/** Arrays of a checkpoint whose names begin with a prefix, without it. */
function arraysOf(path: string, prefix: string): Map<string, Float32Array> {
  const file = new Safetensors(Deno.readFileSync(path));
  const names = [...file.entries.keys()].filter((name) => name.startsWith(prefix));
  return new Map(names.map((name) => [name.slice(prefix.length), file.floats(name).slice()]));
}

Deno.test("an anchor is what its setting says, lies in the checkpoint once, and survives a stop", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const first = configOf(folder, "first", { seed: 5, pipeline: ["source"] });
    await run(first);
    const init = join(first.out, "checkpoints", "source.safetensors");
    const plain = configOf(folder, "plain", { init, stages: { stage1: { statistics: "both" } } });
    await run(plain);
    const last = join("checkpoints", "stage1.safetensors");
    assert.equal(arraysOf(join(plain.out, last), "anchor.").size, 0, "none where it is off");

    const outcomes = new Set<string>();
    for (const featuresOf of ["before", "self-supervised", "init"] as const) {
      const things = ["road", "building"]; // which fill cells in every batch
      const stage1 = { featureDistance: 0.5, featuresOf, things, statistics: "both" };
      const distance = { stages: { stage1 }, init };
      const config = configOf(folder, featuresOf, distance);
      const isPretrained = featuresOf === "self-supervised";
      assert.equal(config.pipeline.includes("selfsup"), isPretrained, "it is put before");
      await run(config);
      const checkpoint = (stage: string) => join(config.out, "checkpoints", `${stage}.safetensors`);
      const from = { before: checkpoint("warmup"), init, "self-supervised": checkpoint("selfsup") };
      const anchor = arraysOf(checkpoint("stage1"), "anchor.");
      const expected = arraysOf(from[featuresOf], "network.");
      for (const name of expected.keys()) {
        if (name.startsWith("layer5")) expected.delete(name); // no head is kept
      }
      assertSame(anchor, expected, featuresOf);
      const records = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).split("\n");
      const distances = records.filter((line) => line.includes('"distance"')).map((line) =>
        JSON.parse(line).distance
      );
      assert.equal(distances.length, 3, "one for each step of stage 1");
      assert.ok(distances[2] > 0, `${distances}`);
      if (featuresOf === "before") assert.equal(distances[0], 0, "no step was made before");
      else assert.ok(distances[0] > 0);
      outcomes.add(arraysOf(checkpoint("stage1"), "network.").get("conv1.weight")?.join() ?? "");

      const stopped = { ...config, out: join(folder, `${featuresOf} stopped`) };
      const controller = new AbortController();
      const observer = {
        ...SILENT,
        step: ({ stage, step }: { readonly stage: string; readonly step: number }) => {
          if (stage === "stage1" && step === 0) controller.abort();
        },
      };
      await runTraining(stopped, gpu, observer, controller.signal);
      // What it started from is not needed any more.
      for (const name of ["warmup", "selfsup"]) {
        const path = join(stopped.out, "checkpoints", `${name}.safetensors`);
        if (name === "warmup" || isPretrained) Deno.renameSync(path, `${path}.away`);
      }
      await resumeTraining(stopped.out, gpu, SILENT, signal);
      const stages = ["stage1"];
      assertSameOutcome(outcomeOf(stopped.out, stages), outcomeOf(config.out, stages));
    }
    outcomes.add(arraysOf(join(plain.out, last), "network.").get("conv1.weight")?.join() ?? "");
    assert.equal(outcomes.size, 4, "each is learnt from");
  }));

Deno.test("a run is refused before its first step where there is no anchor, or no thing", () =>
  withFolder(async (folder) => {
    const refused = (stage1: object, ...parts: string[]) =>
      assert.rejects(
        run(
          configOf(folder, "refused", { stages: { stage1: { featureDistance: 0.1, ...stage1 } } }),
        ),
        dataError(...parts),
      );
    await refused({ featuresOf: "init" }, "there is none", "init", "stages.stage1.featuresOf");
    await refused({ things: ["cat"] }, '"cat" is no class, did you mean car?');
    assert.throws(() => Deno.statSync(join(folder, "refused")), Deno.errors.NotFound);
  }));

Deno.test("a plan counts the frozen backbone and its features", async () => {
  const config = mergeConfig(presetConfig("default"), {
    values: { pipeline: ["stage1"] },
    from: "test",
  });
  const peakOf = async (featureDistance: number) => {
    const stage1 = { ...config.stages.stage1, featureDistance };
    const plan = await planTraining({ ...config, stages: { ...config.stages, stage1 } }, 8);
    return plan.stages[0].peak;
  };
  const gpu = await testGpu();
  using network = new DeepLab(gpu, { ...config.network, classes: 8, init: "none" });
  const bytes = 4 * network.parameterCount;
  const more = await peakOf(0.1) - await peakOf(0);
  assert.ok(more >= bytes && more < 3 * bytes, `${more} bytes more, the network has ${bytes}`);
});
