import assert from "node:assert/strict";
import { pureCells } from "../../kernels/pure_cells.ts";
import { seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/losses.ts";
import { assertSame } from "../_same.ts";

const CLASSES = 6;

/** Labels of patches, of which some hold single pixels of others, and pixels of no class. */
function patches(images: number, height: number, width: number): Uint32Array<ArrayBuffer> {
  const random = seededRandom(height + width);
  const patchOf = Array.from({ length: images * 40 }, () => Math.floor(random() * CLASSES));
  return Uint32Array.from({ length: images * height * width }, (_, i) => {
    const [image, y, x] = [
      Math.floor(i / (height * width)),
      Math.floor(i / width) % height,
      i % width,
    ];
    const chance = random();
    if (chance < 0.1) return Math.floor(random() * CLASSES);
    if (chance < 0.2) return 255;
    return patchOf[40 * image + 8 * Math.floor(5 * y / height) + Math.floor(8 * x / width)];
  });
}

for (
  const [height, width, rows, columns] of [
    [32, 48, 4, 6], // windows of 8×8
    [33, 65, 5, 9], // as a network makes of such a crop: windows of unequal sizes that overlap
    [24, 31, 24, 31],
    [13, 9, 1, 1],
  ] as const
) {
  for (const [how, open] of [["whole", guardedGpu], ["split", () => narrowGpu(9000)]] as const) {
    Deno.test(`${rows}×${columns} cells of ${height}×${width} labels are their reference's (${how})`, async () => {
      const gpu = await open();
      const labels = patches(3, height, width);
      const wanted = [1, 4, 5];
      using array = gpu.upload(labels, [3, height, width], "labels");
      using flags = gpu.upload(
        Uint32Array.from({ length: CLASSES }, (_, k) => Number(wanted.includes(k))),
        [CLASSES],
        "wanted",
      );
      for (const share of [0.51, 0.75, 1]) {
        using cells = pureCells(array, flags, { height: rows, width: columns }, share);
        const nd = { data: Float64Array.from(labels), shape: [3, height, width] };
        const expected = reference.pureCells(nd, wanted, [rows, columns], share);
        assertSame(await cells.read(), Uint32Array.from(expected.data), `share ${share}`);
        if (share === 0.75 && rows > 1) {
          const marked = expected.data.reduce((sum, cell) => sum + cell, 0);
          assert.ok(marked >= 2 && marked < 0.7 * expected.data.length, `${marked} are marked`);
        }
      }
    });
  }
}

Deno.test("a share is reached by exactly so many pixels, of one class alone", async () => {
  const gpu = await testGpu();
  const marked = async (labels: readonly number[], wanted: readonly number[]) => {
    using array = gpu.upload(Uint32Array.from(labels), [1, 2, 4], "labels");
    using flags = gpu.upload(Uint32Array.from(wanted), [wanted.length], "wanted");
    using cells = pureCells(array, flags, { height: 1, width: 1 }, 0.75);
    return (await cells.read())[0];
  };
  assert.equal(await marked([1, 1, 1, 0, 1, 1, 1, 0], [0, 1, 1]), 1, "6 of 8");
  assert.equal(await marked([1, 1, 1, 0, 1, 1, 0, 0], [0, 1, 1]), 0, "5 of 8");
  assert.equal(
    await marked([1, 1, 1, 2, 1, 1, 2, 2], [0, 1, 1]),
    0,
    "5 and 3 of two that are wanted",
  );
  assert.equal(await marked([1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1]), 0, "one that is not");
  assert.equal(await marked(Array(8).fill(255), [1, 1, 1]), 0, "none");
});

Deno.test("cells are refused where the class of most pixels does not decide, or there are too many", async () => {
  const gpu = await testGpu();
  using labels = gpu.upload(new Uint32Array(8), [1, 2, 4], "labels");
  using flags = gpu.upload(new Uint32Array(2), [2], "wanted");
  const size = { height: 1, width: 2 };
  assert.throws(() => pureCells(labels, flags, size, 0.5), {
    name: "RangeError",
    message: /share of 0.5: expected more than 0.5/,
  });
  assert.throws(() => pureCells(labels, flags, { height: 3, width: 2 }, 0.75), {
    name: "RangeError",
    message: /3×2 cells on 2×4 labels/,
  });
  using flat = labels.view([8]);
  assert.throws(() => pureCells(flat, flags, size, 0.75), /takes \[N, H, W\]: "labels" is \[8\]/);
});
