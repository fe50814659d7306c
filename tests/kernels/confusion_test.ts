import { strict as assert } from "node:assert";
import { confusion } from "../../kernels/confusion.ts";
import { seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";

const K = 5;

/** Runs of equal ids, as in label maps, of classes, of ids far outside and of ones just outside. */
function ids(count: number, seed: number): Uint32Array {
  const random = seededRandom(seed);
  let id = 0;
  return Uint32Array.from({ length: count }, () => {
    if (random() < 0.3) id = [0, 1, 2, 3, 4, 5, 255, 4_294_967_295][Math.floor(random() * 8)] ?? 0;
    return id;
  });
}

function count(predictions: Uint32Array, labels: Uint32Array, ignore: number): number[] {
  const counts = new Array(K * K).fill(0);
  labels.forEach((label, i) => {
    const prediction = predictions[i] ?? K;
    if (label !== ignore && label < K && prediction < K) counts[label * K + prediction]++;
  });
  return counts;
}

for (const ignore of [255, 2]) {
  Deno.test(`pixels are counted by label and prediction, without label ${ignore} and what is no class`, async () => {
    const [predictions, labels] = [ids(2 * 17 * 31, 1), ids(2 * 17 * 31, 2)];
    const once = count(predictions, labels, ignore);
    assert.equal(once.filter((n) => n > 0).length, ignore === 2 ? 20 : 25, "all bins are hit");
    for (const gpu of [await guardedGpu(), await narrowGpu(1024)]) {
      using predicted = gpu.upload(predictions, [2, 17, 31], "predictions");
      using labelled = gpu.upload(labels, [2, 17, 31], "labels");
      using counts = gpu.zeros([K, K], "counts", "u32");
      confusion(predicted, labelled, counts, ignore);
      assert.deepEqual([...await counts.read()], once);
      confusion(predicted, labelled, counts, ignore);
      assert.deepEqual([...await counts.read()], once.map((n) => 2 * n), "counts add up");
    }
  });
}

Deno.test("confusion refuses maps of different sizes and counts that are not square", async () => {
  const gpu = await testGpu();
  using a = gpu.zeros([1, 2, 3], "a", "u32");
  using b = gpu.zeros([1, 3, 2], "b", "u32");
  using counts = gpu.zeros([K, K], "counts", "u32");
  using oblong = gpu.zeros([K, K + 1], "oblong", "u32");
  assert.throws(() => confusion(a, b, counts), /"b" must be \[1, 2, 3\]: it is \[1, 3, 2\]/);
  assert.throws(() => confusion(a, a, oblong), /must be \[K, K\]: they are \[5, 6\]/);
});
