import assert from "node:assert/strict";
import { join } from "node:path";
import { mergeConfig, presetConfig, type RunConfig } from "../../train/config.ts";
import { readImage } from "../../train/image.ts";
import type { TrainingObserver } from "../../train/observer.ts";
import { runTraining } from "../../train/run.ts";
import { testGpu } from "../_device.ts";
import { withFolder } from "./_folder.ts";

const SILENT: TrainingObserver = {
  stageStart: () => {},
  step: () => {},
  evaluation: () => {},
  stageEnd: () => {},
  message: () => {},
};
const STAGES = ["source", "warmup", "stage1"];

function tinyConfig(folder: string, name: string, seed: number): RunConfig {
  const stage = { steps: 2, scheduleSteps: 2 };
  return mergeConfig(presetConfig("quick"), {
    values: {
      seed,
      out: join(folder, name),
      network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
      data: {
        batch: 2,
        cropHeight: 32,
        cropWidth: 48,
        longSide: 64,
        streets: {
          directory: join(folder, "streets"),
          width: 64,
          height: 32,
          sourceTrain: 4,
          targetTrain: 4,
          targetVal: 2,
        },
      },
      stages: { source: stage, warmup: stage, stage1: stage },
    },
    from: "the test",
  });
}

async function run(folder: string, name: string, seed: number): Promise<void> {
  const config = tinyConfig(folder, name, seed);
  await runTraining(config, await testGpu(), SILENT, new AbortController().signal);
}

/** The arrays of a stage's checkpoint, without the header, which names the run folder. */
function weightsOf(folder: string, name: string, stage: string): Uint8Array {
  const bytes = Deno.readFileSync(join(folder, name, "checkpoints", `${stage}.safetensors`));
  const header = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  return bytes.subarray(8 + header);
}

Deno.test("a run writes its folder, and the same seed gives the same bits twice", () =>
  withFolder(async (folder) => {
    await run(folder, "first", 7);
    await run(folder, "again", 7);
    await run(folder, "other", 8);
    for (const stage of STAGES) {
      const first = weightsOf(folder, "first", stage);
      assert.ok(first.length > 1000);
      assert.deepEqual(weightsOf(folder, "again", stage), first, `bits of ${stage}`);
      assert.notDeepEqual(weightsOf(folder, "other", stage), first, `another seed, ${stage}`);
      const sample = readImage(join(folder, "first", "samples", `${stage}.png`));
      assert.ok(sample.width > 3 * 64);
    }
    const metrics = Deno.readTextFileSync(join(folder, "first", "metrics.jsonl")).trim().split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      metrics.map(({ stage, step }) => [stage, step]),
      STAGES.flatMap((stage) => [[stage, 0], [stage, 1]]),
    );
    const result = JSON.parse(Deno.readTextFileSync(join(folder, "first", "result.json")));
    assert.equal(result.seed, 7);
    assert.ok(result.adapter.length > 0);
    assert.deepEqual(result.stages.map(({ name }: { name: string }) => name), STAGES);
    for (const { steps, mIoU, classIoU, pixelAccuracy, seconds } of result.stages) {
      assert.equal(steps, 2);
      assert.ok(mIoU >= 0 && pixelAccuracy >= 0 && seconds > 0);
      assert.equal(Object.keys(classIoU).length, 8);
    }
    assert.equal(JSON.parse(Deno.readTextFileSync(join(folder, "first", "config.json"))).seed, 7);
  }));
