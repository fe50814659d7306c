// What is computed at once from the weights in one buffer, against what is computed one by one.

import { strict as assert } from "node:assert";
import type { PackAxes } from "../../../kernels/dense/matmul.ts";
import { packedWeight } from "../../../kernels/dense/pack_weights.ts";
import { WINOGRAD2 } from "../../../kernels/dense/winograd.ts";
import { WINOGRAD4 } from "../../../kernels/dense/winograd4.ts";
import { winogradWeight } from "../../../kernels/dense/winograd_weight.ts";
import { type Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { seededRandom } from "../../_check.ts";
import { guardedGpu, narrowGpu } from "../../_device.ts";

type Shape = readonly [number, number, number, number];

const SETTINGS = ["forward", "reversed"] as const;
type Setting = (typeof SETTINGS)[number];

/** Something that is computed from weights. */
interface Computation {
  readonly name: string;
  /** [O, C, rows, columns] of odd sizes, more than a workgroup's and less than a quad. */
  readonly shapes: readonly Shape[];
  run(weight: GpuArray, setting: Setting): GpuArray;
}

const PACKING: Computation = {
  name: "packing",
  shapes: [[3, 1, 1, 1], [17, 5, 1, 1], [6, 9, 3, 2], [2, 33, 3, 3]],
  run: (weight, setting) => packedWeight(weight, setting, axesOf(weight.shape as Shape)[setting]),
};
const COMPUTATIONS: readonly Computation[] = [
  PACKING,
  ...[WINOGRAD2, WINOGRAD4].map((form): Computation => ({
    name: `${form.name}'s transform`,
    shapes: [[3, 1, 3, 3], [17, 5, 3, 3], [6, 9, 3, 3], [2, 33, 3, 3]],
    run: (weight, setting) => winogradWeight(form, weight, setting === "reversed"),
  })),
];

/** As the forward packs a weight, and as the gradient of the input does every other tap. */
function axesOf([outputs, channels, rows, columns]: Shape): Record<Setting, PackAxes> {
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

  constructor(gpu: Gpu, readonly computation: Computation) {
    const apart = computation.shapes.map((shape) => gpu.zeros(shape, "weight"));
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

  /** Computes from some, and from each by itself to compare; the dispatches that it took. */
  async dispatches(settings: readonly Setting[], weights = this.arrays): Promise<number> {
    const { gpu } = weights[0] as GpuArray;
    const wanted = weights.flatMap((weight) => settings.map((setting) => ({ weight, setting })));
    const before = gpu.queue.dispatches;
    const found = wanted.map(({ weight, setting }) => this.computation.run(weight, setting));
    const dispatches = gpu.queue.dispatches - before;
    for (const [index, { weight, setting }] of wanted.entries()) {
      const array = found[index] as GpuArray;
      const apart = gpu.empty(weight.shape, "weight in a buffer of its own");
      gpu.copy(weight, apart);
      const expected = this.computation.run(apart, setting);
      const copy = gpu.empty(array.shape, "copy");
      gpu.copy(array, copy); // sentinels lie behind what is computed at once, not within
      assert.deepEqual(copy.shape, expected.shape);
      assert.deepEqual(await copy.read(), await expected.read(), `${weight.shape} ${setting}`);
      for (const used of [array, apart, expected, copy]) used.release();
    }
    return dispatches;
  }

  [Symbol.dispose](): void {
    for (const array of this.arrays) array.release();
  }
}

for (const computation of COMPUTATIONS) {
  Deno.test(`${computation.name} takes a dispatch a weight at first, then one a buffer`, async () => {
    const gpu = await guardedGpu("shared");
    const before = gpu.memory.live;
    {
      using weights = new Weights(gpu, computation);
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

  Deno.test(`${computation.name} in the direct class is of one weight at a time, and kept`, async () => {
    const gpu = await guardedGpu("direct");
    using weights = new Weights(gpu, computation);
    for (const seed of [1, 2]) {
      weights.write(seed);
      assert.equal(await weights.dispatches(["forward"]), 4);
      assert.equal(await weights.dispatches(["forward"]), 0);
    }
  });
}

Deno.test("several computations share what is remembered of a buffer", async () => {
  const gpu = await guardedGpu("shared");
  const [, { shapes }] = COMPUTATIONS as [Computation, Computation];
  using weights = new Weights(gpu, { ...PACKING, shapes });
  const run = async () => {
    const before = gpu.queue.dispatches;
    const results = COMPUTATIONS.flatMap(({ run }) =>
      weights.arrays.map((weight) => run(weight, "forward"))
    );
    const dispatches = gpu.queue.dispatches - before;
    const values = await Promise.all(results.map(async (result) => {
      using copy = gpu.empty(result.shape, "copy");
      gpu.copy(result, copy);
      result.release();
      return await copy.read();
    }));
    return { dispatches, values };
  };
  weights.write(1);
  const apart = await run();
  weights.write(1);
  const together = await run();
  assert.deepEqual([apart.dispatches, together.dispatches], [12, 3]);
  assert.deepEqual(together.values, apart.values);
});

Deno.test("what a buffer's weights were packed as is forgotten with them", async () => {
  const gpu = await guardedGpu("shared");
  const buffers = new Set<unknown>();
  for (const seed of [1, 2]) {
    using weights = new Weights(gpu, PACKING);
    buffers.add(weights.arrays[0]?.storage.buffer);
    weights.write(seed);
    assert.equal(await weights.dispatches(["forward"]), 4);
  }
  assert.equal(buffers.size, 1, "the second takes the buffer of the first");
});

Deno.test("weights that one binding does not show are packed by themselves", async () => {
  const gpu = await narrowGpu(4864, "shared");
  using weights = new Weights(gpu, PACKING);
  for (const [seed, dispatches] of [[1, 4], [2, 2], [3, 2]] as const) {
    weights.write(seed);
    assert.equal(await weights.dispatches(["forward"]), dispatches);
  }
});

Deno.test("what weights were packed as one by one leaves no memory behind", async () => {
  const gpu = await guardedGpu("shared");
  using weights = new Weights(gpu, PACKING);
  const pack = () => {
    for (const weight of weights.arrays) PACKING.run(weight, "forward").release();
  };
  weights.write(1);
  pack();
  weights.write(2);
  const table = 512; // with its sentinels
  assert.ok(gpu.memory.free > table);
  pack();
  assert.equal(gpu.memory.free, table);
});

Deno.test("transformed weights of more than 64 MiB are not kept", async () => {
  const gpu = await guardedGpu("shared");
  using weight = gpu.zeros([512, 912, 3, 3], "weight");
  const before = gpu.memory.live;
  winogradWeight(WINOGRAD4, weight, false).release();
  assert.equal(gpu.memory.live, before);
});
