// Weights that are packed at once, against those that are packed one by one.

import { strict as assert } from "node:assert";
import { pack, type PackAxes } from "../../../kernels/dense/matmul.ts";
import { packedWeight } from "../../../kernels/dense/pack_weights.ts";
import { type Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { seededRandom } from "../../_check.ts";
import { guardedGpu, narrowGpu } from "../../_device.ts";

type Shape = readonly [number, number, number, number];

/** [O, C, rows, columns] of odd sizes, more than a workgroup's and less than a quad. */
const SHAPES: readonly Shape[] = [[3, 1, 1, 1], [17, 5, 1, 1], [6, 9, 3, 2], [2, 33, 3, 3]];

/** As the forward packs a weight, and as the gradient of the input does every other tap. */
function axesOf([outputs, channels, rows, columns]: Shape): Record<string, PackAxes> {
  const taps = rows * columns;
  return {
    forward: {
      outer: { count: taps, step: 1 },
      rows: { count: channels, step: taps },
      columns: { count: outputs, step: channels * taps },
    },
    reversed: {
      outer: { count: Math.ceil(rows / 2), step: 2 * columns },
      inner: { count: Math.ceil((columns - 1) / 2) || 1, step: 2 },
      rows: { count: outputs, step: channels * taps },
      columns: { count: channels, step: taps },
      origin: columns > 1 ? 1 : 0,
    },
  };
}

class Weights implements Disposable {
  readonly arrays: readonly GpuArray[];

  constructor(gpu: Gpu) {
    const apart = SHAPES.map((shape) => gpu.zeros(shape, "weight"));
    this.arrays = GpuArray.together(apart);
    for (const array of apart) array.release();
  }

  /** New numbers in all of them, as an optimiser writes them. */
  write(seed: number): void {
    const random = seededRandom(seed);
    for (const array of this.arrays) {
      array.gpu.write(array, Float32Array.from({ length: array.size }, random));
    }
  }

  /** Packs some and compares each with {@link pack}; the dispatches that it took. */
  async dispatches(keys: readonly string[], weights = this.arrays): Promise<number> {
    const { gpu } = weights[0] as GpuArray;
    const wanted = weights.flatMap((weight) =>
      Object.entries(axesOf(weight.shape as unknown as Shape))
        .filter(([key]) => keys.includes(key))
        .map(([key, axes]) => ({ weight, key, axes }))
    );
    const before = gpu.queue.dispatches;
    const found = wanted.map(({ weight, key, axes }) => packedWeight(weight, key, axes));
    const dispatches = gpu.queue.dispatches - before;
    const expected = wanted.map(({ weight, axes }) => pack(weight, axes));
    for (const [index, array] of found.entries()) {
      const [copy, other] = [gpu.empty(array.shape, "copy"), expected[index] as GpuArray];
      gpu.copy(array, copy); // sentinels lie behind what is packed at once, not within
      assert.deepEqual(copy.shape, other.shape);
      assert.deepEqual(await copy.read(), await other.read(), wanted[index]?.key);
      for (const used of [array, copy, other]) used.release();
    }
    return dispatches;
  }

  [Symbol.dispose](): void {
    for (const array of this.arrays) array.release();
  }
}

Deno.test("weights in one buffer are packed one by one at first, then all in one dispatch", async () => {
  const gpu = await guardedGpu("shared");
  const before = gpu.memory.live;
  {
    using weights = new Weights(gpu);
    weights.write(1);
    assert.equal(await weights.dispatches(["forward"]), 4);
    assert.equal(await weights.dispatches(["reversed"]), 4);
    assert.equal(await weights.dispatches(["forward", "reversed"]), 0);
    weights.write(2);
    assert.equal(await weights.dispatches(["forward"]), 1);
    assert.equal(await weights.dispatches(["reversed"]), 0);
    weights.write(3);
    assert.equal(await weights.dispatches(["forward"]), 1);
    weights.write(4); // the others were not asked for since
    assert.equal(await weights.dispatches(["forward"]), 1);
    assert.equal(await weights.dispatches(["reversed"]), 4);
    weights.write(5);
    assert.equal(await weights.dispatches(["reversed"], weights.arrays.slice(2)), 1);
    weights.write(6);
    assert.equal(await weights.dispatches(["reversed", "forward"], weights.arrays.slice(1)), 5);
  }
  assert.equal(gpu.memory.live, before);
  assert.equal(gpu.memory.derived, 0);
});

Deno.test("what a buffer's weights were packed as is forgotten with them", async () => {
  const gpu = await guardedGpu("shared");
  const buffers = new Set<unknown>();
  for (const seed of [1, 2]) {
    using weights = new Weights(gpu);
    buffers.add(weights.arrays[0]?.storage.buffer);
    weights.write(seed);
    assert.equal(await weights.dispatches(["forward"]), 4);
  }
  assert.equal(buffers.size, 1, "the second takes the buffer of the first");
});

Deno.test("weights that one binding does not show are packed by themselves", async () => {
  const gpu = await narrowGpu(4864, "shared");
  using weights = new Weights(gpu);
  for (const [seed, dispatches] of [[1, 4], [2, 2], [3, 2]] as const) {
    weights.write(seed);
    assert.equal(await weights.dispatches(["forward"]), dispatches);
  }
});

Deno.test("the direct class packs weights one by one, and keeps them", async () => {
  const gpu = await guardedGpu("direct");
  using weights = new Weights(gpu);
  for (const seed of [1, 2]) {
    weights.write(seed);
    assert.equal(await weights.dispatches(["forward"]), 4);
    assert.equal(await weights.dispatches(["forward"]), 0);
  }
});
