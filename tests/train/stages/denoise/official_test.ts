// The official head at its full width, behind a network of five blocks at full width and behind ResNet-101.

import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../../nn/deeplab.ts";
import { testGpu } from "../../../_device.ts";
import { Fill } from "../../../goldens/fill.ts";
import { readGolden } from "../../../goldens/golden.ts";
import { assertDenoise } from "../../_golden_steps.ts";
import { type DenoiseCase, encoderOf, networkOf, type Shapes } from "../../_stages.ts";

interface Golden extends Shapes {
  readonly stage1: DenoiseCase & {
    /** How far what PyTorch adds to a parameter in float32 is from float64, at worst. */
    readonly float32Deviation: { readonly norm: number; readonly sample: number };
  };
}

/** The order of summation is not PyTorch's, so that rounding is worse in one place and better in another. */
const SLACK = 4;

/** What a block adds is an eighth of what is drawn, which keeps rounding small in gradients. */
function calmed(gpu: Gpu, fill: Fill, network: DeepLab, prefix = ""): DeepLab {
  for (const [name, { array }] of network.namedParameters()) {
    if (!name.endsWith("bn3.weight")) continue;
    gpu.write(array, fill.parameter(prefix + name, array.shape).map((value) => value / 8));
  }
  return network;
}

for (const [name, what] of [["official", "the official head"], ["resnet101", "ResNet-101"]]) {
  Deno.test(`a step of stage 1 with ${what} agrees with PyTorch`, async () => {
    const golden = readGolden<Golden>(name);
    const { salt, float32Deviation: { norm, sample } } = golden.stage1;
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using network = calmed(gpu, fill, networkOf(gpu, fill, golden.network));
    const encoder = calmed(gpu, fill, encoderOf(gpu, fill, golden.network), "encoder.");
    await assertDenoise(gpu, { network, encoder }, golden.stage1, golden, {
      norm: SLACK * norm,
      sample: SLACK * sample,
    });
  });
}
