// What masked image consistency and quality weights are made with.

import { strict as assert } from "node:assert";
import { hidePatches } from "../../kernels/hide_patches.ts";
import { labelQuality } from "../../kernels/label_quality.ts";
import { assertAllClose, randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/class_mix.ts";

const [IMAGES, HEIGHT, WIDTH] = [3, 11, 14] as const;
const PLANE = HEIGHT * WIDTH;

for (const side of [1, 4, 7, 64]) {
  Deno.test(`patches of ${side} pixels are hidden as in the twin, cut at the border`, async () => {
    const random = seededRandom(side);
    const x = randomNd([IMAGES, 3, HEIGHT, WIDTH], random);
    const [rows, columns] = [Math.ceil(HEIGHT / side), Math.ceil(WIDTH / side)];
    const kept = Uint32Array.from(
      { length: IMAGES * rows * columns },
      () => random() > 0.6 ? 1 : 0,
    );
    kept[0] = 1;
    for (const gpu of [await guardedGpu(), await narrowGpu(4 * 3 * PLANE + 256)]) {
      using images = gpu.upload(Float32Array.from(x.data), x.shape, "images");
      using flags = gpu.upload(kept, [IMAGES, rows, columns], "kept");
      using hidden = hidePatches(images, flags, side);
      const expected = Array.from({ length: 3 * IMAGES }, (_, plane) => {
        const image = Math.floor(plane / 3);
        const keeps = (row: number, column: number) =>
          kept[(image * rows + row) * columns + column] !== 0;
        const own = x.data.subarray(plane * PLANE, (plane + 1) * PLANE);
        return reference.withHiddenPatches(own, WIDTH, keeps, side);
      }).flat();
      assert.deepEqual(await hidden.read(), Float32Array.from(expected));
    }
  });
}

Deno.test("the quality of labels is the share of sure pixels in each image, at all its pixels", async () => {
  const random = seededRandom(2);
  const confidence = Float32Array.from({ length: IMAGES * PLANE }, (_, i) => {
    const image = Math.floor(i / PLANE);
    // The first image is seen in part only, nothing is seen of the last.
    if (image === 2 || image === 0 && i % WIDTH > 8) return 0;
    return Math.min(1, random() + 0.3 * image);
  });
  confidence[PLANE] = Math.fround(0.6); // not above the threshold itself
  for (const threshold of [0.6, 0.968]) {
    for (const gpu of [await guardedGpu(), await narrowGpu(1024)]) {
      using sure = gpu.upload(confidence, [IMAGES, HEIGHT, WIDTH], "confidence");
      using quality = labelQuality(sure, threshold);
      const expected = Array.from({ length: IMAGES }, (_, image) => {
        const own = confidence.subarray(image * PLANE, (image + 1) * PLANE);
        return new Array(PLANE).fill(reference.labelQuality(own, Math.fround(threshold)));
      }).flat();
      assertAllClose("quality", await quality.read(), expected, { atol: 0, rtol: 1e-7 });
      assert.ok(expected[0] > 0 && expected[0] < expected[PLANE] && expected[PLANE] < 1);
      assert.equal(expected.at(-1), 0);
    }
  }
});

Deno.test("hidden patches and qualities refuse shapes that do not fit", async () => {
  const gpu = await testGpu();
  using images = gpu.zeros([2, 3, 5, 7], "images");
  using kept = gpu.zeros([2, 2, 2], "kept", "u32");
  assert.throws(
    () => hidePatches(images, kept, 3),
    /"kept" must be \[2, 2, 3\]: it is \[2, 2, 2\]/,
  );
  assert.throws(() => labelQuality(images, 0.5), /takes \[N, H, W\]: "images" is \[2, 3, 5, 7\]/);
});
