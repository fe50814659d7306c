import { strict as assert } from "node:assert";
import { argmax, argmaxResized, type Prediction } from "../../kernels/argmax.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/spatial.ts";

async function assertPredicts(found: Prediction, logits: Nd): Promise<void> {
  using labels = found.labels;
  using confidence = found.confidence;
  const expected = reference.argmax(logits);
  const [images, , height, width] = logits.shape;
  assert.deepEqual(labels.shape, [images, height, width]);
  assert.deepEqual([...await labels.read()], expected.labels);
  assertAllClose("confidence", await confidence.read(), expected.confidence);
}

for (const classes of [1, 8, 19]) {
  Deno.test(`the most probable of ${classes} classes is found, in logits and in resized ones`, async () => {
    const logits = randomNd([3, classes, 5, 7], seededRandom(classes), [-6, 6]);
    for (const gpu of [await guardedGpu(), await narrowGpu(classes * 140 + 256)]) {
      using array = gpu.upload(Float32Array.from(logits.data), logits.shape, "logits");
      await assertPredicts(argmax(array), logits);
      for (const size of [{ height: 13, width: 20 }, { height: 3, width: 1 }]) {
        if (size.height * size.width * 4 > gpu.maxBindingBytes) continue;
        await assertPredicts(argmaxResized(array, size), reference.resizeBilinear(logits, size));
      }
    }
  });
}

Deno.test("the first of equal logits wins, and a NaN shows in the confidence", async () => {
  const gpu = await testGpu();
  using logits = gpu.upload(Float32Array.of(1, 500, 3, 3, 499, NaN, 3, -500, 2), [1, 3, 1, 3], "z");
  const { labels, confidence } = argmax(logits);
  assert.deepEqual(await labels.read(), Uint32Array.of(1, 0, 0));
  const [tie, sure, unknown] = await confidence.read();
  assertAllClose("confidence", [tie, sure], [
    1 / (2 + Math.exp(-2)),
    1 / (1 + Math.exp(-1)),
  ]);
  assert.ok(Number.isNaN(unknown));
  labels.release();
  confidence.release();
});

Deno.test("argmax refuses logits without classes, of another rank, and an empty size", async () => {
  const gpu = await testGpu();
  using none = gpu.empty([1, 0, 2, 3], "none");
  using flat = gpu.upload(new Float32Array(6), [2, 3], "flat");
  using logits = gpu.upload(new Float32Array(6), [1, 1, 2, 3], "logits");
  assert.throws(() => argmax(none), /the logits have no classes/);
  assert.throws(() => argmax(flat), { name: "TypeError", message: /"flat" is \[2, 3\]/ });
  assert.throws(() => argmaxResized(logits, { height: 4, width: 0 }), { name: "RangeError" });
});
