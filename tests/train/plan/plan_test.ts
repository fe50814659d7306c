// Plans against real runs: the peak of the pool, for several shapes, with and without recomputation.

import assert from "node:assert/strict";
import { join } from "node:path";
import { planningGpu } from "../../../kernels/runtime/mod.ts";
import { STREETS_TRAIN_IDS } from "../../../train/data/classes.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import type { StageName } from "../../../train/stages/kinds.ts";
import { planTraining } from "../../../train/plan/plan.ts";
import { runTraining } from "../../../train/run/run.ts";
import { testGpu } from "../../_device.ts";
import { withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";

const GIB = 2 ** 30;

/** Shapes of a run: network, batch and crop. */
const SHAPES = {
  "a wide crop": { network: { width: 4 }, data: { batch: 2, cropHeight: 48, cropWidth: 96 } },
  "a deeper network": {
    network: { width: 8, blocks: [1, 2, 2, 1] },
    data: { batch: 1, cropHeight: 64, cropWidth: 64 },
  },
  "a larger batch": { network: { width: 4 }, data: { batch: 5, cropHeight: 33, cropWidth: 65 } },
};

function configOf(folder: string, stage: StageName, values: Record<string, object>): RunConfig {
  const streets = {
    directory: join(folder, "streets"),
    width: 64,
    height: 32,
    sourceTrain: 5,
    targetTrain: 5,
    targetVal: 2,
    sourceVal: 1,
    targetChoose: 1,
  };
  const short = { steps: 2, scheduleSteps: 2 };
  return mergeConfig(presetConfig("quick"), {
    values: {
      pipeline: [stage],
      network: { headChannels: 8, groups: 4, dilations: [1, 2] },
      data: { longSide: 64, heldOut: { share: 0 }, streets },
      stages: { [stage]: stage === "stage2" ? { ...short, studentStart: "teacher" } : short },
    },
    from: "the test",
  }, { values, from: "the shape" });
}

/** Runs a stage and compares its peak with the planned one, which it returns. */
async function comparePeaks(config: RunConfig): Promise<number> {
  const gpu = await testGpu();
  const { stages: [plan], evaluation } = await planTraining(config, STREETS_TRAIN_IDS.length, {
    adapter: gpu.adapter,
    limits: gpu.device.limits,
  });
  gpu.pool.trim();
  const before = gpu.memory.live;
  gpu.resetPeak();
  await runTraining(config, gpu, SILENT, new AbortController().signal);
  const measured = gpu.memory.peak - before;
  const planned = Math.max(plan.peak, plan.name === "selfsup" ? 0 : evaluation.peak);
  assert.ok(
    Math.abs(planned / measured - 1) < 0.05,
    `${plan.name}, ${
      JSON.stringify(config.memory)
    }: ${planned} bytes planned, ${measured} measured`,
  );
  assert.ok(plan.step.flops > 1e6 && plan.step.bytes > 1e6 && plan.step.dispatches > 100);
  return plan.peak;
}

for (const [shape, values] of Object.entries(SHAPES)) {
  Deno.test(`the planned peak of ${shape} is the measured one within 5 %`, () =>
    withFolder(async (folder) => {
      for (const stage of ["source", "stage1"] as const) {
        const peaks: number[] = [];
        for (const recompute of [false, true]) {
          const out = join(folder, `${stage} ${recompute}`);
          const config = configOf(folder, stage, { ...values, memory: { recompute } });
          peaks.push(await comparePeaks({ ...config, out }));
        }
        const [kept, again] = peaks as [number, number];
        assert.ok(again < kept, `recomputation lowers the peak: ${again} of ${kept} bytes`);
      }
    }));
}

Deno.test("the planned peak of every other stage is the measured one within 5 %", () =>
  withFolder(async (folder) => {
    for (const stage of ["selfsup", "warmup", "stage2"] as const) {
      const memory = stage === "warmup" ? { activations: "f16" } : {};
      const config = configOf(folder, stage, { ...SHAPES["a wide crop"], memory });
      await comparePeaks({ ...config, out: join(folder, stage) });
    }
  }));

Deno.test("the planned peak of stage 1 with mixed and masked images is the measured one within 5 %", () =>
  withFolder(async (folder) => {
    for (const studentView of ["weak", "strong"]) {
      const stage1 = { studentView, mix: "classes", maskedWeight: 1, qualityThreshold: 0.5 };
      const values = { ...SHAPES["a wide crop"], stages: { stage1 } };
      const config = configOf(folder, "stage1", values);
      await comparePeaks({ ...config, out: join(folder, studentView) });
    }
  }));

Deno.test("all of stage 1 of the official network fits 10 GiB with recomputation, planned without any memory", async () => {
  const config = mergeConfig(presetConfig("full"), {
    values: { pipeline: ["stage1"], memory: { recompute: true } },
    from: "the test",
  });
  // As narrow as WebGPU lets an adapter be, and as wide as they are.
  for (const maxStorageBufferBindingSize of [2 ** 27, 2 ** 31 - 4]) {
    const limits = { maxBufferSize: 2 ** 31 - 4, maxStorageBufferBindingSize };
    const { stages: [stage], parameters } = await planTraining(config, 19, { limits });
    assert.equal(parameters, 65_063_568);
    assert.ok(stage.peakTaken < 10 * GIB, `${stage.peakTaken / GIB} GiB`);
  }
});

Deno.test("stage 1 that learns labels on the weak view holds one view's activations at a time", async () => {
  const peaks: number[] = [];
  for (const studentView of ["strong", "weak"]) {
    const config = mergeConfig(presetConfig("full"), {
      values: { pipeline: ["stage1"], stages: { stage1: { studentView } } },
      from: "the test",
    });
    const { stages: [{ peak }] } = await planTraining(config, 19);
    peaks.push(peak);
  }
  const [one, both] = peaks as [number, number];
  assert.ok(both < 1.02 * one, `${both / GIB} GiB against ${one / GIB} GiB`);
});

Deno.test("a planning device has the limits of the device that it plans for", async () => {
  const { device: { limits } } = await testGpu();
  using gpu = planningGpu({ limits });
  assert.equal(gpu.device.limits.maxBufferSize, limits.maxBufferSize);
  assert.equal(gpu.maxBindingBytes, limits.maxStorageBufferBindingSize);
  assert.equal(gpu.offsetAlignment, limits.minStorageBufferOffsetAlignment);
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

Deno.test("of whole images that do not fit an adapter the largest size is found that does", async () => {
  const config = mergeConfig(presetConfig("default"), {
    values: { pipeline: ["source"], data: { longSide: 1000 } },
    from: "the test",
  });
  const limits = { maxBufferSize: 2 ** 31 - 4, maxStorageBufferBindingSize: 2 ** 22 };
  const size = { height: 512, width: 1024 };
  const planned = async (longSide: number) => {
    const own = { ...config, data: { ...config.data, longSide } };
    return (await planTraining(own, 8, { limits }, size)).evaluation;
  };
  const { problem, longSide } = await planned(1000);
  assert.match(problem ?? "", /binds at most 4 MiB/);
  assert.ok(longSide !== null && longSide < 1000 && longSide % 32 === 0, `${longSide}`);
  const fits = await planned(longSide);
  assert.deepEqual([fits.problem, fits.longSide], [null, longSide]);
  assert.notEqual((await planned(longSide + 32)).problem, null, "it is the largest");
});

Deno.test("a step that an adapter cannot hold is refused with the settings that it depends on", async () => {
  const config = mergeConfig(presetConfig("default"), {
    values: { pipeline: ["source"], data: { cropHeight: 512, cropWidth: 1024 } },
    from: "the test",
  });
  const limits = { maxBufferSize: 2 ** 22, maxStorageBufferBindingSize: 2 ** 22 };
  await assert.rejects(planTraining(config, 8, { limits }), {
    name: "MemoryError",
    message:
      /^Cannot train source on this adapter .* 4 crops of 1024×512, .* set data\.cropHeight /,
  });
});
