// Gradient accumulation in configurations and runs.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { Safetensors } from "../../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../../train/config/config.ts";
import { resumeTraining, runTraining } from "../../../../train/run/run.ts";
import { testGpu } from "../../../_device.ts";
import { dataError, withFolder } from "../../_folder.ts";
import { assertSameOutcome, tinyConfig } from "../../_resume.ts";
import { SILENT } from "../../_observer.ts";

Deno.test("a configuration whose parts do not divide the batch is refused", () => {
  const values = { data: { batch: 4 }, memory: { accumulate: 3 } };
  assert.throws(
    () => mergeConfig(presetConfig("default"), { values, from: "the test" }),
    dataError("memory.accumulate is 3", "divisor of data.batch, 4"),
  );
});

Deno.test("a run in parts, with recomputation, is resumed to the same bits", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const run = async (name: string, stopAt: number): Promise<string> => {
      const out = join(folder, name);
      const config = mergeConfig(presetConfig("default"), {
        values: {
          ...tinyConfig(folder),
          pipeline: ["stage1"],
          memory: { recompute: true, accumulate: 2 },
          out,
        },
        from: "the test",
      });
      const stop = new AbortController();
      const observer = {
        ...SILENT,
        step: ({ step }: { step: number }) => step === stopAt && stop.abort(),
      };
      await runTraining(config, gpu, observer, stop.signal);
      if (stopAt >= 0) await resumeTraining(out, gpu, observer, new AbortController().signal);
      return out;
    };
    const outcome = (out: string) => {
      const file = new Safetensors(
        Deno.readFileSync(join(out, "checkpoints", "stage1.safetensors")),
      );
      const metrics = Deno.readTextFileSync(join(out, "metrics.jsonl"));
      const arrays = [...file.entries.keys()].map((name) => [name, file.floats(name)]);
      return { metrics, ...Object.fromEntries(arrays) };
    };
    assertSameOutcome(outcome(await run("stopped", 1)), outcome(await run("whole", -1)));
  }));
