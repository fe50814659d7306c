// Stage 2 against two steps in PyTorch.

import type { DeepLabOptions } from "../../../../nn/deeplab.ts";
import {
  Distil,
  type DistilBatch,
  type DistilOptions,
} from "../../../../train/stages/distil/distil.ts";
import { testGpu } from "../../../_device.ts";
import { Fill } from "../../../goldens/fill.ts";
import { readGolden } from "../../../goldens/golden.ts";
import {
  assertStatistics,
  assertUpdated,
  runSteps,
  startOf,
  unchanged,
} from "../../_golden_steps.ts";
import {
  type Case,
  classes,
  denoiseBatches,
  type DenoiseCase,
  encoderOf,
  golden,
  networkOf,
} from "../../_stages.ts";

type DistilCase = Case<
  & DistilOptions
  & Pick<DenoiseCase["options"], "views" | "colour">
  & Partial<Pick<DenoiseCase["options"], "encoderView">>
>;

const cases = readGolden<{
  readonly network: DeepLabOptions;
  readonly paper: DistilCase;
  readonly official: DistilCase;
}>("distil");

for (const name of ["paper", "official"] as const) {
  const { salt, options, losses, network: updates, statistics } = cases[name];
  Deno.test(`two steps of stage 2, ${name}, agree with PyTorch, and leave the teacher as it is`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using student = networkOf(gpu, fill, cases.network);
    const teacher = encoderOf(gpu, fill, cases.network);
    const starts = [await startOf(student), await startOf(teacher)] as const;
    using stage = new Distil(student, teacher, { ...options, seed: 0 });
    const { steps, batch, quarter: [height, width] } = golden;
    const labels = fill.labels("pseudo.labels", [steps * batch, height, width], classes);
    const batches = denoiseBatches(gpu, fill, { options }).map(({ source, target }, step) => {
      const { weak, strong, strongViews, softLabels } = target;
      softLabels.release();
      const size = batch * height * width;
      const pseudo = labels.subarray(step * size, (step + 1) * size);
      return {
        source,
        target: {
          weak,
          strong,
          strongViews,
          labels: gpu.upload(pseudo, [batch, height, width], "pseudo labels"),
        },
      } satisfies DistilBatch;
    });
    await runSteps(gpu, stage, batches, losses);
    await assertUpdated(starts[0], updates);
    await assertStatistics(student, statistics);
    await assertUpdated(starts[1], unchanged(Object.keys(updates)));
  });
}
