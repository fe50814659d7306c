import { strict as assert } from "node:assert";
import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import { denoiseLabels, rectifySoftLabels } from "../../../../kernels/rectification.ts";
import { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import * as reference from "../../../_reference/prototypes.ts";

const OPTIONS = { temperature: 1, threshold: 0, ignoreLabel: 255 };
const CLASSES = 8, CHANNELS = 21, HEIGHT = 13, WIDTH = 17;
const PIXELS = HEIGHT * WIDTH;
const SIZES = { classes: CLASSES, channels: CHANNELS };

interface Batch {
  readonly features: Nd;
  readonly labels: Uint32Array<ArrayBuffer>;
}

/** Two images; class 7 is in none, and class 6 has nine pixels in the first image only. */
function randomBatch(seed: number): Batch {
  const random = seededRandom(seed);
  const features = randomNd([2, CHANNELS, HEIGHT, WIDTH], random, [-1, 2]);
  const labels = Uint32Array.from({ length: 2 * PIXELS }, () => Math.floor(random() * 6));
  labels.fill(6, 0, 9);
  return { features, labels };
}

function upload(gpu: Gpu, { features, labels }: Batch) {
  const uploaded = {
    features: gpu.upload(Float32Array.from(features.data), features.shape, "features"),
    labels: gpu.upload(labels, [2, HEIGHT, WIDTH], "labels"),
  };
  return {
    ...uploaded,
    [Symbol.dispose]() {
      uploaded.features.release();
      uploaded.labels.release();
    },
  };
}

/** Equation 4 in plain numbers: the mean over the pixels, or the class means, of all images. */
function expectedStart(batches: readonly Batch[], perImage: boolean): number[] {
  const totals = new Array<number>(CLASSES * CHANNELS).fill(0);
  const weights = new Array<number>(CLASSES).fill(0);
  for (const { features, labels } of batches) {
    const { sums, counts } = reference.classSums(features, labels, CLASSES);
    counts.data.forEach((count, row) => {
      if (count < 10) return;
      weights[row % CLASSES] += perImage ? 1 : count;
      for (let c = 0; c < CHANNELS; c++) {
        const sum = sums.data[row * CHANNELS + c];
        totals[row % CLASSES * CHANNELS + c] += perImage ? sum / count : sum;
      }
    });
  }
  return totals.map((total, i) => total / Math.max(1, weights[Math.floor(i / CHANNELS)]));
}

for (const variant of ["paper", "official"] as const) {
  const perImage = variant === "official";

  Deno.test(`prototypes start from the mean over a data set and follow batches, as in the ${variant}`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const batches = [1, 2, 3].map(randomBatch);
    {
      using bank = new PrototypeBank(gpu, {
        ...SIZES,
        startVariant: variant,
        updateVariant: variant,
      });
      for (const batch of batches) {
        using arrays = upload(gpu, batch);
        bank.collect(arrays.features, arrays.labels);
      }
      bank.start();
      const start = expectedStart(batches, perImage);
      assert.deepEqual(start.slice(6 * CHANNELS), new Array(2 * CHANNELS).fill(0));
      assertAllClose("start", await bank.prototypes.read(), start, { atol: 1e-6 });

      const batch = randomBatch(4);
      using arrays = upload(gpu, batch);
      bank.update(arrays.features, arrays.labels, 0.9);
      const { sums, counts } = reference.classSums(batch.features, batch.labels, CLASSES);
      const { data } = reference.updatedPrototypes(
        { data: Float64Array.from(start), shape: [CLASSES, CHANNELS] },
        sums,
        counts,
        { decay: 0.9, minimumPixels: 10, perImage },
      );
      assertAllClose("update", await bank.prototypes.read(), data, { atol: 1e-6 });
    }
    assert.equal(gpu.memory.live, before, "the bank leaves bytes behind");
  });
}

Deno.test("denoised labels undo confident mistakes near the true prototype", async () => {
  const gpu = await testGpu();
  const random = seededRandom(8);
  using bank = new PrototypeBank(gpu, SIZES);
  const prototypes = randomNd([CLASSES, CHANNELS], random, [-2, 2]);
  gpu.write(bank.prototypes, Float32Array.from(prototypes.data));
  const truth = Uint32Array.from({ length: PIXELS }, () => Math.floor(random() * CLASSES));
  const features = new Float32Array(CHANNELS * PIXELS);
  const soft = new Float32Array(CLASSES * PIXELS).fill(0.2 / CLASSES);
  truth.forEach((label, pixel) => {
    const told = random() < 0.4 ? Math.floor(random() * CLASSES) : label; // two of five are noise
    soft[told * PIXELS + pixel] += 0.8;
    for (let c = 0; c < CHANNELS; c++) {
      features[c * PIXELS + pixel] = prototypes.data[label * CHANNELS + c] +
        0.2 * (random() - 0.5);
    }
  });
  using array = gpu.upload(features, [1, CHANNELS, HEIGHT, WIDTH], "features");
  using softLabels = gpu.upload(soft, [1, CLASSES, HEIGHT, WIDTH], "soft labels");
  using distances = bank.distances(array);
  const denoised = denoiseLabels(softLabels, distances, OPTIONS);
  using labels = denoised.labels;
  using confidence = denoised.confidence;
  assert.deepEqual(await labels.read(), truth);
  assert.ok((await confidence.read()).every((value) => value > 0));
  using rectified = rectifySoftLabels(softLabels, distances, 1);
  const expected = reference.rectify(
    { data: Float64Array.from(soft), shape: softLabels.shape },
    reference.prototypeDistances(
      { data: Float64Array.from(features), shape: array.shape },
      prototypes,
    ),
    1,
  );
  assertAllClose("rectified", await rectified.read(), expected.data);
  const sure = denoiseLabels(softLabels, distances, { ...OPTIONS, threshold: 2 });
  using none = sure.labels;
  sure.confidence.release();
  assert.deepEqual(await none.read(), new Uint32Array(PIXELS).fill(OPTIONS.ignoreLabel));
});

Deno.test("a bank restored from its state goes on with the same bits", async () => {
  const gpu = await testGpu();
  using bank = new PrototypeBank(gpu, SIZES);
  using batch = upload(gpu, randomBatch(5));
  bank.collect(batch.features, batch.labels);
  bank.start();
  using restored = new PrototypeBank(gpu, SIZES);
  for (const [name, array] of bank.state()) {
    const target = restored.state().get(name);
    assert.ok(target);
    gpu.write(target, await array.read());
  }
  for (const each of [bank, restored]) each.update(batch.features, batch.labels, 0.5);
  assert.deepEqual(await restored.prototypes.read(), await bank.prototypes.read());
});

Deno.test("prototypes do not start from nothing", async () => {
  const gpu = await testGpu();
  using bank = new PrototypeBank(gpu, SIZES);
  assert.throws(() => bank.start(), /no features were collected: call collect\(\) first/);
});
