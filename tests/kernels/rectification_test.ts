import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import {
  denoiseLabels,
  idsWhereLabelled,
  rectifySoftLabels,
  whereLabelled,
} from "../../kernels/rectification.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import { softmax } from "../_reference/losses.ts";
import * as reference from "../_reference/prototypes.ts";

const IGNORE = 255;
const OPTIONS = { temperature: 1, threshold: 0, ignoreLabel: IGNORE };

function upload(gpu: Gpu, { data, shape }: Nd, label: string) {
  return gpu.upload(Float32Array.from(data), shape, label);
}

/** Soft labels of random logits, zero in every pixel whose index five divides. */
function randomCase(classes: number) {
  const random = seededRandom(classes);
  const shape = [3, classes, 5, 7];
  const softLabels = softmax(randomNd(shape, random, [-6, 6]));
  softLabels.data.forEach((p, i) => softLabels.data[i] = i % 35 % 5 === 0 ? 0 : Math.fround(p));
  return { softLabels, distances: randomNd(shape, random, [0, 12]) };
}

/** Per pixel of a map [N, K, H, W]: the largest value and its class. */
function largest({ data, shape }: Nd): { value: number; label: number }[] {
  const [images, classes, height, width] = shape;
  const plane = height * width;
  return Array.from({ length: images * plane }, (_, pixel) => {
    const first = Math.floor(pixel / plane) * classes * plane + pixel % plane;
    const values = Array.from({ length: classes }, (_, k) => data[first + k * plane]);
    const value = Math.max(...values);
    return { value, label: value === 0 ? IGNORE : values.indexOf(value) };
  });
}

for (const classes of [8, 13, 19]) {
  for (const temperature of [1, 0.25]) {
    Deno.test(`labels of ${classes} classes are denoised as in the reference at temperature ${temperature}`, async () => {
      const { softLabels, distances } = randomCase(classes);
      const expected = reference.rectify(softLabels, distances, temperature);
      const best = largest(expected);
      for (const gpu of [await guardedGpu(), await narrowGpu(4 * classes * 35 + 256)]) {
        using soft = upload(gpu, softLabels, "soft labels");
        using far = upload(gpu, distances, "distances");
        using rectified = rectifySoftLabels(soft, far, temperature);
        const { labels, confidence } = denoiseLabels(soft, far, { ...OPTIONS, temperature });
        assertAllClose("rectified", await rectified.read(), expected.data);
        assertAllClose("confidence", await confidence.read(), best.map(({ value }) => value));
        assert.deepEqual([...await labels.read()], best.map(({ label }) => label));
        labels.release();
        confidence.release();
      }
    });
  }
}

Deno.test("denoised labels below the threshold are ignored, confidence stays", async () => {
  const gpu = await testGpu();
  const { softLabels, distances } = randomCase(19);
  const best = largest(reference.rectify(softLabels, distances, 1));
  using soft = upload(gpu, softLabels, "soft labels");
  using far = upload(gpu, distances, "distances");
  const { labels, confidence } = denoiseLabels(soft, far, { ...OPTIONS, threshold: 0.9 });
  const expected = best.map(({ value, label }) => value < 0.9 ? IGNORE : label);
  const ignored = expected.filter((label) => label === IGNORE).length;
  assert.ok(ignored > 30 && ignored < 90, `${ignored} of 105 pixels lie below the threshold`);
  assert.deepEqual([...await labels.read()], expected);
  assertAllClose("confidence", await confidence.read(), best.map(({ value }) => value));
  labels.release();
  confidence.release();
});

Deno.test("a class far beyond the reach of exp still rectifies, and the first of equals wins", async () => {
  const gpu = await testGpu();
  // Pixel 0: only far classes have a soft label. Pixel 1: two equal ones.
  using soft = gpu.upload(Float32Array.of(0, 0.2, 0.5, 0.4, 0.5, 0.4), [1, 3, 1, 2], "soft");
  using far = gpu.upload(Float32Array.of(0, 9, 500, 1, 501, 1), [1, 3, 1, 2], "distances");
  const { labels, confidence } = denoiseLabels(soft, far, OPTIONS);
  assert.deepEqual(await labels.read(), Uint32Array.of(1, 1));
  const share = 1 / (1 + Math.exp(-1));
  const other = 0.4 / (0.8 + 0.2 * Math.exp(-8));
  assertAllClose("confidence", await confidence.read(), [share, other]);
  labels.release();
  confidence.release();
});

Deno.test("without distances all classes weigh the same, to the bit as with equal ones", async () => {
  const { softLabels } = randomCase(13);
  for (const gpu of [await guardedGpu(), await narrowGpu(4 * 13 * 35 + 256)]) {
    using soft = upload(gpu, softLabels, "soft labels");
    using equal = gpu.zeros(soft.shape, "equal distances");
    for (const temperature of [1, 0.25]) {
      using expected = rectifySoftLabels(soft, equal, temperature);
      using found = rectifySoftLabels(soft, null, temperature);
      assert.deepEqual(await found.read(), await expected.read());
      const [none, zeros] = [null, equal].map((distances) =>
        denoiseLabels(soft, distances, { ...OPTIONS, temperature })
      );
      assert.deepEqual(await none.labels.read(), await zeros.labels.read());
      assert.deepEqual(await none.confidence.read(), await zeros.confidence.read());
      for (const array of [none, zeros].flatMap((found) => Object.values(found))) array.release();
    }
  }
});

Deno.test("probabilities are kept where there is a soft label, and are 0 elsewhere", async () => {
  const { softLabels, distances } = randomCase(8);
  const probabilities = softmax(distances);
  const isLabelled = largest(softLabels).map(({ value }) => value > 0);
  const plane = 35;
  const expected = Array.from(probabilities.data, (value, i) => {
    const pixel = Math.floor(i / (8 * plane)) * plane + i % plane;
    return isLabelled[pixel] ? value : 0;
  });
  for (const gpu of [await guardedGpu(), await narrowGpu(4 * 8 * plane + 256)]) {
    using soft = upload(gpu, softLabels, "soft labels");
    using predicted = upload(gpu, probabilities, "probabilities");
    using masked = whereLabelled(predicted, soft);
    assertAllClose("masked", await masked.read(), expected);
  }
});

Deno.test("class ids are kept where there is a soft label, and are ignored elsewhere", async () => {
  const { softLabels } = randomCase(8);
  const isLabelled = largest(softLabels).map(({ value }) => value > 0);
  const ids = Uint32Array.from({ length: 105 }, (_, pixel) => pixel % 8);
  for (const gpu of [await guardedGpu(), await narrowGpu(4 * 8 * 35 + 256)]) {
    using soft = upload(gpu, softLabels, "soft labels");
    using given = gpu.upload(ids, [3, 5, 7], "ids");
    using found = idsWhereLabelled(given, soft, IGNORE);
    const expected = isLabelled.map((has, pixel) => has ? ids[pixel] : IGNORE);
    assert.deepEqual([...await found.read()], expected);
  }
});

Deno.test("rectification refuses a temperature of zero and distances of another shape", async () => {
  const gpu = await testGpu();
  using soft = gpu.upload(new Float32Array(12), [1, 3, 2, 2], "soft");
  using far = gpu.upload(new Float32Array(12), [1, 2, 2, 3], "far");
  assert.throws(() => denoiseLabels(soft, soft, { ...OPTIONS, temperature: 0 }), {
    name: "RangeError",
    message: /temperature must be positive: it is 0/,
  });
  assert.throws(() => rectifySoftLabels(soft, far, 1), {
    name: "TypeError",
    message: /"soft" must be \[1, 2, 2, 3\]: it is \[1, 3, 2, 2\]/,
  });
  assert.throws(() => whereLabelled(far, soft), { name: "TypeError" });
});
