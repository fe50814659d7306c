// The gradient of a convolution to its input, added to an earlier one: the same as a new array that
// is added afterwards, and but for Winograd's algorithm the same bits.

import { strict as assert } from "node:assert";
import { conv2dInputGradient } from "../../../kernels/dense/conv2d.ts";
import { type Conv2dGeometry, conv2dSizes } from "../../../kernels/dense/conv2d_shape.ts";
import { SHARED_TILES, tileChoice, tilingOf } from "../../../kernels/dense/shared_tiles.ts";
import { winogradChoice } from "../../../kernels/dense/winograd.ts";
import { addInPlace } from "../../../kernels/elementwise.ts";
import type { Gpu, GpuArray, Shape } from "../../../kernels/runtime/mod.ts";
import { assertAllClose, randomNd, seededRandom } from "../../_check.ts";
import { choosing, guardedGpu, KERNEL_CLASSES, narrowGpu } from "../../_device.ts";
import { testInHalves } from "../../_halves.ts";

interface Case {
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: number;
  readonly geometry?: Partial<Conv2dGeometry>;
}

/** By how it is computed. */
const CASES: Readonly<Record<string, Case>> = {
  "as a product whose last tile is not full": { x: [3, 21, 2, 6], outputs: 9, kernel: 1 },
  "as a product of many tiles": { x: [2, 133, 8, 9], outputs: 17, kernel: 1 },
  "as a product whose sums are split": { x: [1, 9, 4, 5], outputs: 600, kernel: 1 },
  "of narrow blocks": { x: [2, 3, 5, 7], outputs: 5, kernel: 3, geometry: { padding: 1 } },
  "of wide blocks": { x: [2, 33, 5, 5], outputs: 6, kernel: 3 },
  "whose sums are split": { x: [1, 60, 8, 9], outputs: 130, kernel: 3 },
  "with a dilation": {
    x: [2, 9, 17, 9],
    outputs: 12,
    kernel: 3,
    geometry: { padding: 7, dilation: 7 },
  },
  "by residues": { x: [2, 5, 9, 8], outputs: 7, kernel: 3, geometry: { stride: 2, padding: 1 } },
  "where no residue reaches most elements": {
    x: [2, 20, 7, 8],
    outputs: 6,
    kernel: 1,
    geometry: { stride: 3 },
  },
  "in tiles of Winograd's algorithm": {
    x: [2, 68, 7, 8],
    outputs: 66,
    kernel: 3,
    geometry: { padding: 1 },
  },
};

function geometryOf({ geometry }: Case): Conv2dGeometry {
  return { stride: 1, padding: 0, dilation: 1, ...geometry };
}

function upload(gpu: Gpu, shape: Shape, seed: number): GpuArray {
  const { data } = randomNd(shape, seededRandom(seed));
  return gpu.upload(Float32Array.from(data), shape, "operand");
}

/** What an earlier gradient becomes by adding, and by computing and adding. */
async function bothWays(gpu: Gpu, item: Case): Promise<[Float32Array, Float32Array]> {
  const { x, outputs, kernel } = item;
  const geometry = geometryOf(item);
  const { outHeight, outWidth } = conv2dSizes(x, [outputs, x[1], kernel, kernel], geometry);
  using gradOutput = upload(gpu, [x[0], outputs, outHeight, outWidth], 1);
  using weight = upload(gpu, [outputs, x[1], kernel, kernel], 2);
  using sum = upload(gpu, x, 3);
  using expected = upload(gpu, x, 3);
  using gradient = conv2dInputGradient(gradOutput, weight, x, geometry);
  addInPlace(expected, gradient);
  const to = { array: sum, accumulate: true };
  using added = conv2dInputGradient(gradOutput, weight, x, geometry, to);
  assert.equal(added, sum);
  // Into an array that is overwritten, whatever it held.
  using other = upload(gpu, x, 4);
  conv2dInputGradient(gradOutput, weight, x, geometry, { array: other, accumulate: false })
    .release();
  assert.deepEqual(await other.read(), await gradient.read());
  return [await sum.read(), await expected.read()];
}

for (const kernels of KERNEL_CLASSES) {
  for (const [how, item] of Object.entries(CASES)) {
    Deno.test(`an input gradient ${how} is added to an earlier one (${kernels})`, async () => {
      const gpu = await guardedGpu(kernels);
      const before = gpu.memory.live;
      const [found, expected] = await bothWays(gpu, item);
      // Drivers may add and multiply at once, with one rounding.
      if (/Winograd/.test(how)) assertAllClose("sum", found, expected, { atol: 2e-6, rtol: 2e-6 });
      else assert.deepEqual(found, expected);
      assert.equal(gpu.memory.live, before);
    });
  }

  Deno.test(`input gradients of images that one binding cannot hold are added (${kernels})`, async () => {
    for (const how of ["as a product whose last tile is not full", "by residues"]) {
      const item = CASES[how] as Case;
      const [, channels, height, width] = item.x;
      const gpu = await narrowGpu(Math.ceil(channels * height * width * 4 / 256) * 256, kernels);
      const [found, expected] = await bothWays(gpu, { ...item, x: [5, channels, height, width] });
      assert.deepEqual(found, expected, how);
    }
  });
}

/** Tiles, and the numbers they multiply: drivers are slow to compile halves. */
const TILES = [
  ...SHARED_TILES.map(({ name }) => [name, "f32"] as const),
  ["64×64", "f16"],
  ["32×64", "f16"],
] as const;

for (const [name, precision] of TILES) {
  const test = precision === "f16" ? testInHalves : Deno.test;
  test(`input gradients in ${precision} by ${name} are added to an earlier one`, async () => {
    const gpu = await guardedGpu("shared");
    for (const how of ["as a product of many tiles", "whose sums are split", "by residues"]) {
      const item = CASES[how] as Case;
      await choosing(gpu, name, async () => {
        const geometry = { ...item.geometry, precision };
        const [found, expected] = await bothWays(gpu, { ...item, geometry });
        assert.deepEqual(found, expected, how);
      });
    }
  });
}

Deno.test("the cases are computed as they say", async () => {
  for (const kernels of KERNEL_CLASSES) {
    const gpu = await guardedGpu(kernels);
    for (const [how, item] of Object.entries(CASES)) {
      const sizes = conv2dSizes(
        item.x,
        [item.outputs, item.x[1], item.kernel, item.kernel],
        geometryOf(item),
      );
      const expected = /Winograd/.test(how)
        ? kernels === "shared" ? "winograd4" : "winograd"
        : "direct";
      assert.equal(winogradChoice(gpu, sizes, "image").expected, expected, how);
      if (kernels === "direct" || expected !== "direct" || sizes.stride > 1) continue;
      const extent = {
        rows: sizes.inChannels,
        columns: sizes.images * sizes.inHeight * sizes.inWidth,
        batch: 1,
        depth: sizes.outChannels * item.kernel ** 2,
        mostSplits: 16,
      };
      const { candidates, expected: tile } = tileChoice(gpu, extent, "f32");
      const { splits } = tilingOf(candidates.get(tile) ?? SHARED_TILES[0]!, extent);
      assert.equal(splits > 1, /split/.test(how), how);
    }
  }
});
