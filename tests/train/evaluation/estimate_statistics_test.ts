// Batch-norm statistics of one domain.

import assert from "node:assert/strict";
import { DeepLab } from "../../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { estimateStatistics } from "../../../train/evaluation/estimate_statistics.ts";
import { uploadSamples } from "../../../train/evaluation/image_batches.ts";
import { SamplesInMemory } from "../../../train/data/samples.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";

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
function samplesOf(sizes: readonly (readonly [number, number])[]): SamplesInMemory {
  const images = sizes.map(([width, height], index) => {
    const data = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => 30 * index + (i * 7919 >> 3) % 97,
    );
    return { image: { data, width, height }, label: null };
  });
  return new SamplesInMemory(images, "sequential");
}

Deno.test("statistics of one batch make evaluation what training is on it", async () => {
  const gpu = await testGpu();
  const sizes = [[48, 32], [48, 32], [48, 32]] as const;
  using network = new DeepLab(gpu, { ...NETWORK, dropout: 0 });
  const { images } = uploadSamples(gpu, await samplesOf(sizes).next(3), LONG_SIDE);
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
  await estimateStatistics(network, samplesOf(sizes), LONG_SIDE, signal);
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
});

Deno.test("every image counts the same, whatever batch it is in, and training goes on as before", async () => {
  const gpu = await testGpu();
  const sizes = [[48, 32], [48, 32], [32, 48]] as const;
  const meanOf = async (sizes: readonly (readonly [number, number])[]) => {
    using network = new DeepLab(gpu, { ...NETWORK, dropout: 0.5 });
    const momenta = network.batchNorms().map(({ momentum }) => momentum);
    await estimateStatistics(network, samplesOf(sizes), LONG_SIDE, signal);
    assert.deepEqual(network.batchNorms().map(({ momentum }) => momentum), momenta);
    return await network.namedBuffers().get("bn1.running_mean")!.read();
  };
  const all = await meanOf(sizes);
  // The first image alone, then with the second: what is left of all three is the third's share.
  const two = await meanOf(sizes.slice(0, 2));
  const one = await meanOf(sizes.slice(0, 1));
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
});
