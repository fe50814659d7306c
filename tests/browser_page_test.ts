// The training of the page in examples/browser: the program's, step for step. The page itself is tested in a
// browser, by tests/browser/page.ts.

import assert from "node:assert/strict";
import { join } from "node:path";
import { Adaptation } from "../examples/browser/worker/adaptation.ts";
import { shortened } from "../examples/browser/worker/settings.ts";
import { withSteps } from "../train/config/config.ts";
import { PRESETS } from "../train/config/presets.ts";
import { shippedNetworks } from "../train/networks/shipped.ts";
import { loadTrainedNetwork } from "../train/networks/trained_network.ts";
import { runTraining } from "../train/run/run.ts";
import { testGpu } from "./_device.ts";
import { withFolder } from "./train/_folder.ts";
import { SILENT } from "./train/_observer.ts";

const [{ path: source }] = shippedNetworks();

Deno.test("the page trains as the program does: losses of both stages are the same bits", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const quick = withSteps(PRESETS.quick, 2);
    const { data } = quick;
    const config = {
      ...quick,
      seed: 5,
      out: join(folder, "run"),
      init: source,
      pipeline: ["warmup" as const, "stage1" as const],
      handOn: "last" as const,
      finalStatistics: "own" as const,
      data: {
        ...data,
        heldOut: { ...data.heldOut, share: 0 },
        streets: {
          ...data.streets,
          directory: join(folder, "streets"),
          sourceTrain: 9,
          sourceVal: 1,
          targetTrain: 7,
          targetVal: 2,
          targetChoose: 1,
        },
      },
    };
    const never = new AbortController().signal;
    await runTraining(config, gpu, SILENT, never);
    const expected = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).trimEnd().split("\n")
      .map((line) => JSON.parse(line));

    const found: Record<string, unknown>[] = [];
    {
      using start = loadTrainedNetwork(gpu, source);
      using adaptation = new Adaptation(start.network, config);
      for await (const progress of adaptation.run()) {
        if (progress.kind !== "step") continue;
        const { stage, step, losses } = progress;
        found.push({ stage, step: step - 1, ...losses });
        await adaptation.show(3); // must not change what is trained
        await adaptation.denoised([0, 1]);
      }
    }
    assert.equal(found.length, 4);
    found.forEach((record, at) => {
      const losses = Object.keys(record).map((key) => [key, expected[at][key]]);
      assert.deepEqual(record, Object.fromEntries(losses));
    });
    assert.equal(gpu.memory.live, before, "bytes are left on the GPU");
  }));

Deno.test("a short training keeps all settings but images, steps and the rate of stage 1", () => {
  const short = shortened(PRESETS.quick);
  assert.ok(short.stages.warmup.steps < 10 && short.stages.stage1.steps < 20);
  for (const { steps, scheduleSteps, rampSteps } of Object.values(short.stages)) {
    assert.equal(scheduleSteps, steps);
    assert.ok(rampSteps >= 1 && rampSteps < steps / 2);
  }
  const { warmup, stage1 } = short.stages;
  const { stages, data } = PRESETS.quick;
  const { steps, scheduleSteps, rampSteps } = stages.warmup;
  assert.deepEqual({ ...warmup, steps, scheduleSteps, rampSteps }, stages.warmup);
  assert.ok(stage1.learningRate < stages.stage1.learningRate);
  const { sourceTrain, targetTrain } = data.streets;
  const streets = { ...short.data.streets, sourceTrain, targetTrain };
  assert.deepEqual({ ...short.data, streets }, data);
});
