// Soft labels and the start of the prototypes, against the same done on the host.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../../nn/tape.ts";
import { tensor } from "../../../../nn/tensor.ts";
import { type Dataset, openDataset } from "../../../../train/data/dataset.ts";
import { GTA5 } from "../../../../train/data/layouts.ts";
import { encodeImage, readImage } from "../../../../train/images/image.ts";
import { quarterOf } from "../../../../train/stages/common/batch.ts";
import { labelTarget } from "../../../../train/stages/denoise/soft_labels.ts";
import { assertAllClose, type Nd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { softmax } from "../../../_reference/losses.ts";
import { argmax, resizeBilinear } from "../../../_reference/spatial.ts";
import { withFolder } from "../../_folder.ts";
import { write } from "../../_png.ts";

const CLASSES = 3;
const CHANNELS = 8;
const LONG_SIDE = 64;
/** Sizes whose long side is `LONG_SIDE`, so that nothing is resized. */
const SIZES = [[64, 40], [64, 40], [50, 64], [64, 40]] as const;

/** Noise over a ramp. */
function makeDataset(root: string): Dataset {
  const random = seededRandom(5);
  for (const [index, [width, height]] of SIZES.entries()) {
    const data = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => 128 * random() + 127 * (Math.floor(i / 3) % width) / width,
    );
    write(join(root, "images", `${index}.png`), encodeImage({ data, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "train", trainIds: null });
}

async function makeNetwork(): Promise<DeepLab> {
  return new DeepLab(await testGpu(), {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: CHANNELS,
    groups: 4,
    dilations: [1],
    dropout: 0.5,
    seed: 1,
  });
}

/** What the network says of an image. */
async function predict(network: DeepLab, path: string): Promise<{ features: Nd; logits: Nd }> {
  const { data, width, height } = readImage(path);
  const plane = width * height;
  const pixels = Float32Array.from(
    { length: 3 * plane },
    (_, i) => (data[i % plane * 3 + Math.floor(i / plane)] as number) / 255,
  );
  using x = tensor(network.gpu, pixels, [1, 3, height, width]);
  const { features, logits } = noGrad(() => scope(() => network.forward(x)));
  const values = await network.gpu.readAll([features.array, logits.array]);
  const [nd, other] = [features, logits].map(({ shape }, i) => ({
    data: Float64Array.from(values[i]),
    shape,
  }));
  features.dispose();
  logits.dispose();
  return { features: nd, logits: other };
}

Deno.test("soft labels are the network's probabilities, prototypes the means of its features", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const before = network.gpu.memory.live - network.gpu.memory.derived; // less packed weights
    const signal = new AbortController().signal;
    const made = await labelTarget(network, dataset, join(root, "soft"), LONG_SIDE, signal);
    assert.ok(network.training, "the mode is as it was");
    const prototypes = await made.bank.prototypes.read();
    made.bank.dispose();
    assert.equal(network.gpu.memory.live - network.gpu.memory.derived, before, "bytes left behind");

    network.eval();
    const [sums, counts] = [new Float64Array(CLASSES * CHANNELS), new Float64Array(CLASSES)];
    for (const [index, { image }] of dataset.items.entries()) {
      const [width, height] = SIZES[index];
      const { features, logits } = await predict(network, image);
      const { shape, data } = made.softLabels.read(index);
      const expected = softmax(resizeBilinear(logits, quarterOf({ width, height })));
      assert.deepEqual([...shape], [...expected.shape]);
      assertAllClose(`soft labels of image ${index}`, data, expected.data);
      const { labels } = argmax(logits);
      for (let k = 0; k < CLASSES; k++) {
        const count = labels.filter((label) => label === k).length;
        if (count < 10) continue; // too few to count in this image
        counts[k] += count;
        for (let c = 0; c < CHANNELS; c++) {
          for (const [pixel, label] of labels.entries()) {
            if (label !== k) continue;
            sums[k * CHANNELS + c] += features.data[c * labels.length + pixel] as number;
          }
        }
      }
    }
    assert.ok(counts.filter((count) => count > 0).length >= 2, `pixels of classes: ${counts}`);
    const means = sums.map((sum, i) => sum / Math.max(1, counts[Math.floor(i / CHANNELS)]));
    assertAllClose("prototypes", prototypes, means);
  }));

Deno.test("a stop leaves nothing on the GPU", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const before = network.gpu.memory.live - network.gpu.memory.derived; // less packed weights
    const stopped = labelTarget(
      network,
      dataset,
      join(root, "soft"),
      LONG_SIDE,
      AbortSignal.abort(),
    );
    await assert.rejects(stopped, { name: "AbortError" });
    assert.ok(network.training, "the mode is as it was");
    assert.equal(network.gpu.memory.live - network.gpu.memory.derived, before, "bytes left behind");
  }));

Deno.test("a quarter of a size is at least a pixel", () => {
  assert.deepEqual(quarterOf({ height: 512, width: 897 }), { height: 128, width: 224 });
  assert.deepEqual(quarterOf({ height: 3, width: 1 }), { height: 1, width: 1 });
});
