// Plans against real runs: the peak of the pool, for several shapes, with and without recomputation.

import assert from "node:assert/strict";
import { join } from "node:path";
import { planningGpu } from "../../kernels/runtime/mod.ts";
import { STREETS_TRAIN_IDS } from "../../train/classes.ts";
import { mergeConfig, presetConfig, type RunConfig, type StageName } from "../../train/config.ts";
import type { TrainingObserver } from "../../train/observer.ts";
import { planTraining } from "../../train/plan.ts";
import { runTraining } from "../../train/run.ts";
import { testGpu } from "../_device.ts";
import { withFolder } from "./_folder.ts";

const GIB = 2 ** 30;
const quiet: TrainingObserver = {
  stageStart: () => {},
  step: () => {},
  evaluation: () => {},
  stageEnd: () => {},
  message: () => {},
};

/** Shapes of a run: network, batch and crop. */
const SHAPES = {
  "a wide crop": { network: { width: 4 }, data: { batch: 2, cropHeight: 48, cropWidth: 96 } },
  "a deeper network": {
    network: { width: 8, blocks: [1, 2, 2, 1] },
    data: { batch: 1, cropHeight: 64, cropWidth: 64 },
  },
  "a larger batch": { network: { width: 4 }, data: { batch: 5, cropHeight: 33, cropWidth: 65 } },
};

function configOf(
  folder: string,
  name: string,
  stage: StageName,
  values: Record<string, object>,
): RunConfig {
  const streets = {
    directory: join(folder, "streets"),
    width: 64,
    height: 32,
    sourceTrain: 5,
    targetTrain: 5,
    targetVal: 2,
  };
  return mergeConfig(presetConfig("quick"), {
    values: {
      out: join(folder, name),
      pipeline: [stage],
      network: { headChannels: 8, groups: 4, dilations: [1, 2] },
      data: { longSide: 64, streets },
      stages: {
        [stage]: { steps: 3, scheduleSteps: 3 },
      },
    },
    from: "the test",
  }, { values, from: "the shape" });
}

for (const [shape, values] of Object.entries(SHAPES)) {
  Deno.test(`the planned peak of ${shape} is the measured one within 5 %`, () =>
    withFolder(async (folder) => {
      const gpu = await testGpu();
      const device = { adapter: gpu.adapter, limits: gpu.device.limits };
      const peaks: number[] = [];
      for (const stage of ["selfsup", "source", "warmup", "stage1", "stage2"] as const) {
        for (const recompute of [false, true]) {
          const config = configOf(folder, `${stage} ${recompute}`, stage, {
            ...values,
            memory: { recompute },
          });
          const { stages: [plan], evaluationPeak } = await planTraining(
            config,
            STREETS_TRAIN_IDS.length,
            device,
          );
          gpu.pool.trim();
          const before = gpu.memory.live;
          gpu.resetPeak();
          await runTraining(config, gpu, quiet, new AbortController().signal);
          const measured = gpu.memory.peak - before;
          const planned = Math.max(plan.peak, evaluationPeak);
          assert.ok(
            Math.abs(planned / measured - 1) < 0.05,
            `${stage}, recompute ${recompute}: ${planned} bytes planned, ${measured} measured`,
          );
          assert.ok(plan.step.flops > 1e6 && plan.step.dispatches > 100);
          peaks.push(plan.peak);
        }
      }
      assert.ok(
        peaks.every((peak, index) => index % 2 === 0 || peak < (peaks[index - 1] as number)),
      );
    }));
}

Deno.test("all of stage 1 of the official network fits 22 GiB with recomputation, planned without any memory", async () => {
  const config = mergeConfig(presetConfig("full"), {
    values: { pipeline: ["stage1"], memory: { recompute: true } },
    from: "the test",
  });
  // As narrow as WebGPU lets an adapter be, and as wide as they are.
  for (const maxStorageBufferBindingSize of [2 ** 27, 2 ** 31 - 4]) {
    const limits = { maxBufferSize: 2 ** 31 - 4, maxStorageBufferBindingSize };
    const { stages: [stage], parameters } = await planTraining(config, 19, { limits });
    assert.equal(parameters, 65_063_568);
    assert.ok(stage.peakTaken < 22 * GIB, `${stage.peakTaken / GIB} GiB`);
  }
});

Deno.test("a planning device takes no memory, counts and reads zeros", async () => {
  using gpu = planningGpu({ memoryBudget: 2 ** 41 });
  using array = gpu.empty([2 ** 26], "a quarter of a GiB");
  assert.ok(gpu.memory.live >= 2 ** 28);
  assert.deepEqual(
    await gpu.upload(Float32Array.of(1, 2), [2], "numbers").read(),
    new Float32Array(2),
  );
  assert.throws(() => gpu.empty([2 ** 27], "too much for a buffer"), /Cannot allocate/);
  assert.equal(array.size, 2 ** 26);
});
