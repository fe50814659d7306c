// Batch-norm statistics of one domain.

import assert from "node:assert/strict";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { type Dataset, openDataset } from "../../../train/data/dataset.ts";
import { GTA5 } from "../../../train/data/layouts.ts";
import { uploadSamples } from "../../../train/evaluation/image_batches.ts";
import { encodeImage } from "../../../train/images/image.ts";
import { Loader } from "../../../train/data/loader.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { withFolder } from "../_folder.ts";
import { write } from "../_png.ts";
import { estimateFrom } from "../_estimate.ts";

const NETWORK = {
  blocks: [1, 1, 1, 1],
  width: 2,
  headChannels: 8,
  groups: 4,
  dilations: [1, 2],
  classes: 3,
  seed: 2,
} as const;
const LONG_SIDE = 48;
const { signal } = new AbortController();

/** Images of noise, each brighter than the one before. */
function makeDataset(root: string, sizes: readonly (readonly [number, number])[]): Dataset {
  for (const [index, [width, height]] of sizes.entries()) {
    const data = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => 30 * index + (i * 7919 >> 3) % 97,
    );
    write(join(root, "images", `${index}.png`), encodeImage({ data, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "train", trainIds: null });
}

Deno.test("statistics of one batch make evaluation what training is on it", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const dataset = makeDataset(root, [[48, 32], [48, 32], [48, 32]]);
    using network = new DeepLab(gpu, { ...NETWORK, dropout: 0 });
    using loader = new Loader({ dataset, order: "sequential" });
    const { images } = uploadSamples(gpu, await loader.next(3), LONG_SIDE);
    const features = async (training: boolean) => {
      network.train(training);
      const features = noGrad(() => scope(() => network.extract(input(images))));
      const values = await features.read();
      features.dispose();
      return values;
    };
    const before = await features(false);
    network.train();
    const live = gpu.memory.live - gpu.memory.derived;
    await estimateFrom(network, dataset, LONG_SIDE, signal);
    assert.equal(gpu.memory.live - gpu.memory.derived, live, "bytes left behind");
    assert.ok(network.training);
    const [after, trained] = [await features(false), await features(true)];
    images.release();
    const length = (values: Float32Array) => Math.hypot(...values);
    const apart = (values: Float32Array) =>
      length(values.map((value, i) => value - trained[i])) / length(trained);
    // The running variance is unbiased and the batch's is not, which adds up over the layers.
    assert.ok(apart(after) < 0.1, `${apart(after)} of the features differ`);
    assert.ok(apart(before) > 0.3, `only ${apart(before)} of them differed before`);
  }));

Deno.test("every image counts the same, whatever batch it is in, and training goes on as before", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const sizes = [[48, 32], [48, 32], [32, 48]] as const;
    const meanOf = async (name: string, sizes: readonly (readonly [number, number])[]) => {
      using network = new DeepLab(gpu, { ...NETWORK, dropout: 0.5 });
      const momenta = network.batchNorms().map(({ momentum }) => momentum);
      await estimateFrom(network, makeDataset(join(root, name), sizes), LONG_SIDE, signal);
      assert.deepEqual(network.batchNorms().map(({ momentum }) => momentum), momenta);
      return await network.namedBuffers().get("bn1.running_mean")!.read();
    };
    const all = await meanOf("all", sizes);
    // The first image alone, then with the second: what is left of all three is the third's share.
    const two = await meanOf("two", sizes.slice(0, 2));
    const one = await meanOf("one", sizes.slice(0, 1));
    const third = all.map((value, c) => 3 * value - 2 * two[c]);
    const second = two.map((value, c) => 2 * value - one[c]);
    // The images differ by a constant shade; so do the means of the first, linear layer, by equal
    // steps.
    const step = second.map((value, c) => value - one[c]);
    assert.ok(step.some((value) => Math.abs(value) > 1e-3));
    assertAllClose("step", third.map((value, c) => value - second[c]), step, {
      atol: 6e-3,
      rtol: 0.3,
    });
  }));
