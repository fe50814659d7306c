// The two classes of kernels, and the choice among the tiles of one of them.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../../../kernels/dense/conv2d.ts";
import type { Conv2dGeometry } from "../../../kernels/dense/conv2d_shape.ts";
import { conv2dParameterGradients } from "../../../kernels/dense/conv2d_weight.ts";
import { matmul } from "../../../kernels/dense/matmul.ts";
import {
  type ChoiceTable,
  type Gpu,
  type GpuArray,
  openGpu,
  type Shape,
  tune,
} from "../../../kernels/runtime/mod.ts";
import { defineTileKernels, SHARED_TILES } from "../../../kernels/dense/shared_tiles.ts";
import { assertAllClose, randomNd, seededRandom } from "../../_check.ts";
import { guardedGpu } from "../../_device.ts";

interface Convolution {
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: readonly [number, number];
  readonly geometry: Conv2dGeometry;
}

/** Rows, depth and columns: larger than the largest tile along both axes, and no multiple of any. */
const PRODUCT = [133, 37, 141] as const;
const LARGE: Convolution = {
  x: [1, 9, 17, 9],
  outputs: 133,
  kernel: [1, 3],
  geometry: { stride: 1, padding: 2, dilation: 2 },
};
const CONVOLUTIONS: Readonly<Record<string, Convolution>> = {
  large: LARGE,
  strided: {
    x: [2, 5, 11, 13],
    outputs: 70,
    kernel: [3, 3],
    geometry: { stride: 2, padding: 1, dilation: 1 },
  },
  dilated: {
    x: [1, 9, 17, 9],
    outputs: 50,
    kernel: [3, 3],
    geometry: { stride: 1, padding: 7, dilation: 7 },
  },
  pointwise: {
    x: [3, 20, 7, 7],
    outputs: 9,
    kernel: [1, 1],
    geometry: { stride: 1, padding: 0, dilation: 1 },
  },
};
/** So many channels, or positions, that a few tiles are not enough to fill a GPU. Not for Winograd. */
const DEEP: Convolution = {
  x: [1, 130, 8, 9],
  outputs: 60,
  kernel: [3, 3],
  geometry: { stride: 1, padding: 0, dilation: 1 },
};
const WIDE: Convolution = {
  x: [1, 3, 40, 41],
  outputs: 5,
  kernel: [3, 3],
  geometry: { stride: 1, padding: 0, dilation: 1 },
};

/** Random numbers, the same on every device. */
function upload(gpu: Gpu, shape: Shape, seed: number): GpuArray {
  const { data } = randomNd(shape, seededRandom(seed));
  return gpu.upload(Float32Array.from(data), shape, "operand");
}

/** Reads and releases. */
async function take(array: GpuArray): Promise<Float32Array> {
  using own = array;
  return await own.read();
}

async function product(
  gpu: Gpu,
  [rows, depth, columns]: readonly [number, number, number] = PRODUCT,
): Promise<Float32Array> {
  using a = upload(gpu, [rows, depth], 1);
  using b = upload(gpu, [depth, columns], 2);
  return await take(matmul(a, b));
}

/** Output, gradient of the input, gradient of the weight. */
async function convolution(
  gpu: Gpu,
  { x: shape, outputs, kernel, geometry }: Convolution,
): Promise<Float32Array[]> {
  using x = upload(gpu, shape, 1);
  using weight = upload(gpu, [outputs, shape[1], ...kernel], 2);
  using bias = upload(gpu, [outputs], 3);
  using y = conv2dForward(x, weight, bias, geometry);
  using gradOutput = upload(gpu, y.shape, 4);
  const gradInput = conv2dInputGradient(gradOutput, weight, shape, geometry);
  const needs = { weight: true, bias: false };
  const gradients = conv2dParameterGradients(gradOutput, x, weight.shape, geometry, needs);
  return [await y.read(), await take(gradInput), await take(gradients.weight!)];
}

Deno.test("software adapters get the direct class of kernels, GPUs the shared one", async () => {
  const gpu = await guardedGpu();
  const isCpu = /llvmpipe|swiftshader|basic render/i.test(gpu.adapter.description);
  assert.equal(gpu.kernelClass, isCpu ? "direct" : "shared");
});

Deno.test("matmul has the same bits in both classes of kernels", async () => {
  const [direct, shared] = [await guardedGpu("direct"), await guardedGpu("shared")];
  assert.deepEqual(await product(shared), await product(direct));
});

for (const [name, item] of Object.entries(CONVOLUTIONS)) {
  Deno.test(`a ${name} convolution has the same bits in both classes of kernels`, async () => {
    const [y, gradInput, gradWeight] = await convolution(await guardedGpu("shared"), item);
    const direct = await convolution(await guardedGpu("direct"), item);
    assert.deepEqual(y, direct[0]);
    assert.deepEqual(gradInput, direct[1]);
    // Sums over positions are split in other places, as GPUs need more workgroups than CPUs have threads.
    assertAllClose("gradient of the weight", gradWeight!, direct[2]!);
  });
}

Deno.test("long sums of few outputs are split over workgroups, the same way every time", async () => {
  const [direct, shared] = [await guardedGpu("direct"), await guardedGpu("shared")];
  const run = async (gpu: Gpu) => {
    const [y, gradInput] = await convolution(gpu, DEEP);
    const [, , gradWeight] = await convolution(gpu, WIDE);
    return { product: await product(gpu, [9, 600, 12]), y, gradInput, gradWeight };
  };
  const [found, again, expected] = [await run(shared), await run(shared), await run(direct)];
  assert.deepEqual(found, again);
  for (const name of ["product", "y", "gradInput", "gradWeight"] as const) {
    assertAllClose(name, found[name]!, expected[name]!, { atol: 1e-4 });
    assert.notDeepEqual(found[name], expected[name], `${name} is summed in one piece`);
  }
});

Deno.test("tune chooses a candidate of every problem that was run, and every tile has the same bits", async () => {
  using gpu = await openGpu({ kernels: "shared", autotune: true, guardBytes: 256 });
  const before = gpu.memory.live;
  const expected = [await product(gpu), ...await convolution(gpu, LARGE)];
  const kept: ChoiceTable[] = [];
  gpu.choices.onTuned = () => kept.push(gpu.choices.table);
  const made = await tune(gpu);
  const { table } = gpu.choices;
  assert.equal(Object.keys(table).length, made);
  assert.equal(await tune(gpu), 0, "what is chosen is not timed again");
  assert.deepEqual(kept, [table], "told once, when all are made");
  const tiles = SHARED_TILES.map(({ name }) => name);
  const shared = Object.keys(table).filter((key) => /^(matmul|conv2d)_shared/.test(key));
  assert.ok(shared.length >= 4, `only ${shared} were noted`);
  for (const key of shared) assert.ok(tiles.includes(table[key]!), `${key}: ${table[key]}`);
  for (const tile of tiles) {
    gpu.choices.add(Object.fromEntries(shared.map((key) => [key, tile])));
    const [c, y, gradInput, gradWeight] = [
      await product(gpu),
      ...await convolution(gpu, LARGE),
    ];
    assert.deepEqual(c, expected[0], tile);
    assert.deepEqual(y, expected[1], tile);
    assert.deepEqual(gradInput, expected[2], tile);
    assertAllClose(`gradient of the weight in tiles of ${tile}`, gradWeight!, expected[3]!);
  }
  assert.equal(gpu.memory.live, before);
});

Deno.test("every tile gives every convolution the same bits", async () => {
  using gpu = await openGpu({ kernels: "shared", autotune: true, guardBytes: 256 });
  for (const [name, item] of Object.entries(CONVOLUTIONS)) {
    const [y, gradInput, gradWeight] = await convolution(gpu, item);
    const keys = [];
    for (let open = gpu.choices.takeOpen(); open; open = gpu.choices.takeOpen()) {
      if (open[1].candidates.includes(SHARED_TILES[0]!.name)) keys.push(open[0]);
    }
    assert.ok(keys.length >= 3, `${name}: only ${keys}`);
    for (const tile of SHARED_TILES) {
      gpu.choices.add(Object.fromEntries(keys.map((key) => [key, tile.name])));
      const found = await convolution(gpu, item);
      assert.deepEqual(found[0], y, `${name} in tiles of ${tile.name}`);
      assert.deepEqual(found[1], gradInput, `gradient of ${name} in tiles of ${tile.name}`);
      assertAllClose(`gradient of the weight in tiles of ${tile.name}`, found[2]!, gradWeight!);
    }
  }
});

Deno.test("a WGSL file that takes other tiles than its launcher's is refused", () => {
  const source = `
override THREAD_ROWS = 8u;
override THREAD_COLUMNS = 8u;
override ROW_QUADS = 2u;
override LEFT_QUADS = THREAD_ROWS * ROW_QUADS;
override RIGHT_QUADS = THREAD_COLUMNS * 2u;
const DEPTH = 8u;
@group(0) @binding(0) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(THREAD_ROWS * THREAD_COLUMNS) fn multiply() { c[0] = 1; }
`;
  const define = (source: string) =>
    defineTileKernels({
      name: "tiles",
      file: "tiles.wgsl",
      source,
      entry: "multiply",
      reads: [],
      writes: ["c"],
    });
  assert.equal(define(source)(SHARED_TILES[0]).workgroupSize, SHARED_TILES[0].threads);
  const pattern =
    /Cannot define tiles 128×128 as tiles.wgsl takes other tiles than 128×128: .* are /;
  for (
    const [here, there] of [
      ["DEPTH = 8u", "DEPTH = 4u"],
      ["THREAD_COLUMNS * 2u", "THREAD_COLUMNS * 4u"],
      ["size(THREAD_ROWS * THREAD_COLUMNS)", "size(64)"],
    ]
  ) assert.throws(() => define(source.replace(here, there)), pattern);
});

Deno.test("nothing is tuned on a device that was not opened for it", async () => {
  const gpu = await guardedGpu("shared");
  await product(gpu);
  assert.equal(await tune(gpu), 0);
  assert.deepEqual(gpu.choices.table, {});
});
