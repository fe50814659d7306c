// Runs with all that later work adds to stage 1.

import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../../train/config/config.ts";
import { resumeTraining, runTraining } from "../../../../train/run/run.ts";
import { testGpu } from "../../../_device.ts";
import { withFolder } from "../../_folder.ts";
import { SILENT } from "../../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../../_resume.ts";

for (const strongView of ["simple", "randaugment"] as const) {
  Deno.test(`with all of it on ${strongView} views, a run in parts is resumed to the same bits`, () =>
    withFolder(async (folder) => {
      const gpu = await testGpu();
      const run = async (name: string, stopAt: number): Promise<string> => {
        const out = join(folder, name);
        const tiny = tinyConfig(folder) as { data: object; stages: { stage1: object } };
        const stage1 = {
          ...tiny.stages.stage1,
          mix: "classes",
          maskedWeight: 1,
          qualityThreshold: 0.2,
          studentView: "strong",
        };
        const values = {
          ...tiny,
          pipeline: ["stage1"],
          data: { ...tiny.data, strongView },
          memory: { accumulate: 2, activations: strongView === "simple" ? "f32" : "f16" },
          stages: { ...tiny.stages, stage1 },
          out,
        };
        const config = mergeConfig(presetConfig("default"), { values, from: "the test" });
        const stop = new AbortController();
        const observer = {
          ...SILENT,
          step: ({ step }: { step: number }) => step === stopAt && stop.abort(),
        };
        await runTraining(config, gpu, observer, stop.signal);
        if (stopAt >= 0) await resumeTraining(out, gpu, observer, new AbortController().signal);
        return out;
      };
      const whole = outcomeOf(await run("whole", -1), ["stage1"]);
      assertSameOutcome(outcomeOf(await run("stopped", 1), ["stage1"]), whole);
    }));
}
