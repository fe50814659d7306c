import { strict as assert } from "node:assert";
import {
  accumulateCentroids,
  meanCentroids,
  runningCentroids,
  updateCentroids,
} from "../../kernels/centroids.ts";
import { classSums } from "../../kernels/class_sums.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/prototypes.ts";

const IGNORE = 255;

function floats({ data }: Nd): Float32Array<ArrayBuffer> {
  return Float32Array.from(data);
}

/** Features and labels, of which every eleventh is ignored; the last class is rare. */
function randomBatch(
  images: number,
  channels: number,
  height: number,
  width: number,
  classes: number,
) {
  const random = seededRandom(classes + width);
  const features = randomNd([images, channels, height, width], random, [-1, 2]);
  const labels = Uint32Array.from(
    { length: images * height * width },
    (_, i) => i % 11 === 0 ? IGNORE : Math.floor(random() * (classes - 0.9)),
  );
  return { features, labels };
}

for (
  const [images, channels, height, width, classes] of [
    [3, 8, 4, 8, 8],
    [2, 21, 13, 17, 13],
    [2, 37, 21, 31, 19],
    [1, 3, 9, 31, 45],
  ] as const
) {
  Deno.test(
    `class sums of ${channels} channels in ${classes} classes match their reference on ${height}×${width}`,
    async () => {
      const { features, labels } = randomBatch(images, channels, height, width, classes);
      const expected = reference.classSums(features, labels, classes);
      const perImage = 4 * channels * Math.max(classes, height * width);
      for (const gpu of [await guardedGpu(), await narrowGpu(perImage + 256)]) {
        using array = gpu.upload(floats(features), features.shape, "features");
        using pixels = gpu.upload(labels, [images, height, width], "labels");
        const { sums, counts } = classSums(array, pixels, classes);
        assert.deepEqual([sums.shape, counts.shape], [
          expected.sums.shape,
          expected.counts.shape,
        ]);
        assertAllClose("sums", await sums.read(), expected.sums.data, { atol: 1e-5, rtol: 2e-6 });
        assert.deepEqual([...await counts.read()], [...expected.counts.data]);
        sums.release();
        counts.release();
      }
    },
  );
}

Deno.test("class sums are the same bits every time", async () => {
  const gpu = await testGpu();
  const { features, labels } = randomBatch(2, 16, 33, 65, 19);
  using array = gpu.upload(floats(features), features.shape, "features");
  using pixels = gpu.upload(labels, [2, 33, 65], "labels");
  const [first, second] = [classSums(array, pixels, 19), classSums(array, pixels, 19)];
  assert.deepEqual(await first.sums.read(), await second.sums.read());
  for (const { sums, counts } of [first, second]) {
    sums.release();
    counts.release();
  }
});

for (const perImage of [false, true]) {
  Deno.test(
    `prototypes move towards the class means ${
      perImage ? "of each image in turn" : "of the batch"
    }, but for rare and unseen classes`,
    async () => {
      const gpu = await guardedGpu();
      const random = seededRandom(4);
      const [images, classes, channels] = [4, 13, 21];
      const sums = randomNd([images, classes, channels], random, [-40, 90]);
      const counts = randomNd([images, classes], random, [1, 60]);
      counts.data.forEach((count, i) => counts.data[i] = Math.floor(count));
      for (let n = 0; n < images; n++) counts.data[n * classes + 5] = 9; // never enough
      for (let n = 0; n < images; n++) counts.data[n * classes + 6] = 0;
      counts.data[7] = 10; // just enough
      const prototypes = randomNd([classes, channels], random);
      const options = { decay: 0.9, minimumPixels: 10, perImage };
      using array = gpu.upload(floats(prototypes), prototypes.shape, "prototypes");
      using summed = gpu.upload(floats(sums), sums.shape, "sums");
      using counted = gpu.upload(floats(counts), counts.shape, "counts");
      updateCentroids(array, { sums: summed, counts: counted }, options);
      const expected = reference.updatedPrototypes(prototypes, sums, counts, options);
      const found = await array.read() as Float32Array;
      assertAllClose("prototypes", found, expected.data, { atol: 1e-6, rtol: 1e-6 });
      const kept = floats(prototypes).subarray(5 * channels, 7 * channels);
      assert.deepEqual(found.subarray(5 * channels, 7 * channels), kept);
    },
  );
}

Deno.test("a decay of 0.9999 loses no digits of the step", async () => {
  const gpu = await testGpu();
  using prototypes = gpu.upload(Float32Array.of(1000), [1, 1], "prototypes");
  using sums = gpu.upload(Float32Array.of(2000), [1, 1, 1], "sums");
  using counts = gpu.upload(Float32Array.of(1), [1, 1], "counts");
  const options = { decay: 0.9999, minimumPixels: 1, perImage: false };
  updateCentroids(prototypes, { sums, counts }, options);
  assertAllClose("prototype", await prototypes.read(), [1000.1], { atol: 0, rtol: 6e-8 });
});

Deno.test("the mean over ten thousand batches keeps six digits, where a plain sum of floats does not", async () => {
  const gpu = await testGpu();
  const [images, classes, channels, batches] = [4, 2, 5, 2500];
  const sums = randomNd([images, classes, channels], seededRandom(6), [700, 1100]);
  // Class 0 has 3277 pixels an image, more than 2^24 in all; class 1 is in the first image only.
  const counts = Float64Array.of(3277, 1234, 3277, 9, 3277, 9, 3277, 9);
  using state = gpu.zeros([classes, channels + 1, 2], "state");
  using summed = gpu.upload(floats(sums), sums.shape, "sums");
  using counted = gpu.upload(Float32Array.from(counts), [images, classes], "counts");
  using prototypes = gpu.zeros([classes, channels], "prototypes");
  const options = { minimumPixels: 10, perImage: false };
  for (let batch = 0; batch < batches; batch++) {
    accumulateCentroids(state, { sums: summed, counts: counted }, options);
  }
  meanCentroids(prototypes, state);
  const expected = Array.from({ length: classes * channels }, (_, i) => {
    const at = (image: number) => sums.data[image * classes * channels + i];
    return i < channels ? (at(0) + at(1) + at(2) + at(3)) / 4 / 3277 : at(0) / 1234;
  });
  assertAllClose("mean", await prototypes.read(), expected, { atol: 0, rtol: 3e-7 });

  let plain = 0; // what the first channel would be without the compensation
  for (let batch = 0; batch < batches; batch++) {
    for (let image = 0; image < images; image++) {
      plain = Math.fround(plain + sums.data[image * classes * channels]);
    }
  }
  const drift = Math.abs(plain / (images * batches * 3277) / expected[0] - 1);
  assert.ok(drift > 3e-7, `a plain sum drifts by ${drift} only, which tests nothing`);
});

Deno.test("a mean over images counts each alike, and an unseen class keeps its prototype", async () => {
  const gpu = await testGpu();
  using state = gpu.zeros([2, 2, 2], "state");
  using sums = gpu.upload(Float32Array.of(20, 0, 400, 0), [2, 2, 1], "sums");
  using counts = gpu.upload(Float32Array.of(10, 0, 100, 0), [2, 2], "counts");
  using prototypes = gpu.upload(Float32Array.of(7, 7), [2, 1], "prototypes");
  accumulateCentroids(state, { sums, counts }, { minimumPixels: 10, perImage: true });
  meanCentroids(prototypes, state);
  assert.deepEqual(await prototypes.read(), Float32Array.of(3, 7));
});

Deno.test("a running mean over images lets at most so many before count, worked out by hand", async () => {
  const gpu = await testGpu();
  // Class 0 has the means 2, 6, 4 and 13 in turn; class 1 has too few pixels in the second image.
  using sums = gpu.upload(Float32Array.of(20, 30, 60, 9, 40, 50, 130, 70), [4, 2, 1], "sums");
  using counts = gpu.upload(Float32Array.of(10, 10, 10, 9, 10, 10, 10, 10), [4, 2], "counts");
  using prototypes = gpu.zeros([2, 1], "prototypes");
  using numbers = gpu.zeros([2], "numbers");
  const options = { minimumPixels: 10, most: 2 };
  runningCentroids(prototypes, numbers, { sums, counts }, options);
  // Class 0: 2, 4, then 4 + (4 − 4) / 3, then 4 + (13 − 4) / 3. Class 1: 3, 4, then 4 + (7 − 4) / 3.
  assertAllClose("prototypes", await prototypes.read(), [7, 5]);
  assert.deepEqual(await numbers.read(), Float32Array.of(2, 2));
  // Another batch goes on from there: 7 + (2 − 7) / 3.
  using more = gpu.upload(Float32Array.of(20, 0), [1, 2, 1], "sums");
  using seen = gpu.upload(Float32Array.of(10, 0), [1, 2], "counts");
  runningCentroids(prototypes, numbers, { sums: more, counts: seen }, options);
  assertAllClose("prototypes", await prototypes.read(), [7 - 5 / 3, 5]);
});

Deno.test("class sums and centroids refuse shapes and decays that do not fit", async () => {
  const gpu = await testGpu();
  using features = gpu.zeros([1, 2, 3, 4], "features");
  using labels = gpu.zeros([1, 4, 3], "labels", "u32");
  using sums = gpu.zeros([1, 2, 3], "sums");
  using counts = gpu.zeros([1, 2], "counts");
  using prototypes = gpu.zeros([2, 3], "prototypes");
  using state = gpu.zeros([2, 3, 2], "state");
  const options = { minimumPixels: 10, perImage: false };
  assert.throws(() => classSums(features, labels, 5), /"labels" must be \[1, 3, 4\]/);
  assert.throws(
    () => accumulateCentroids(state, { sums, counts }, options),
    /"state" must be \[2, 4, 2\]/,
  );
  assert.throws(() => updateCentroids(prototypes, { sums, counts }, { ...options, decay: 1.5 }), {
    name: "RangeError",
    message: /decay must lie in \[0, 1\]: it is 1.5/,
  });
});
