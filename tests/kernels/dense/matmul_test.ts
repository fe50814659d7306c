import { strict as assert } from "node:assert";
import { matmul } from "../../../kernels/dense/matmul.ts";
import type { KernelClass } from "../../../kernels/runtime/mod.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../../_check.ts";
import { guardedGpu, KERNEL_CLASSES } from "../../_device.ts";
import * as reference from "../../_reference/conv2d.ts";

function transposed({ data, shape }: Nd): Nd {
  const [rows, columns] = shape as [number, number];
  return {
    data: Float64Array.from(data, (_, i) => data[i % rows * columns + Math.floor(i / rows)]!),
    shape: [columns, rows],
  };
}

const SIZES = [[1, 1, 1], [3, 5, 7], [16, 16, 16], [17, 33, 20], [40, 3, 129]] as const;

async function checkMatmul(
  [rows, depth, columns]: readonly [number, number, number],
  kernels: KernelClass,
): Promise<void> {
  const gpu = await guardedGpu(kernels);
  const before = gpu.memory.live;
  const random = seededRandom(rows + depth);
  const [a, b] = [randomNd([rows, depth], random), randomNd([depth, columns], random)];
  const expected = reference.matmul(a, b);
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      const [left, right] = [[a, transposeA], [b, transposeB]].map(([nd, flip]) => {
        const { data, shape } = flip ? transposed(nd as Nd) : nd as Nd;
        return gpu.upload(Float32Array.from(data), shape, "operand");
      });
      const c = matmul(left!, right!, { transposeA, transposeB });
      assert.deepEqual(c.shape, [rows, columns]);
      assertAllClose(`a b (${transposeA}, ${transposeB})`, await c.read(), expected.data);
      for (const array of [left!, right!, c]) array.release();
    }
  }
  assert.equal(gpu.memory.live, before);
}

for (const kernels of KERNEL_CLASSES) {
  for (const size of SIZES) {
    const [rows, depth, columns] = size;
    Deno.test(`matmul of [${rows}, ${depth}] and [${depth}, ${columns}] in all four orders (${kernels})`, () =>
      checkMatmul(size, kernels));
  }
}

Deno.test("matmul over an empty sum is zero", async () => {
  const gpu = await guardedGpu();
  const [a, b] = [gpu.empty([2, 0], "a"), gpu.empty([0, 3], "b")];
  const c = matmul(a, b);
  assert.deepEqual([...await c.read()], [0, 0, 0, 0, 0, 0]);
  for (const array of [a, b, c]) array.release();
});

Deno.test("matmul says which lengths differ", async () => {
  const gpu = await guardedGpu();
  const [a, b] = [gpu.zeros([2, 3], "a"), gpu.zeros([4, 5], "b")];
  assert.throws(() => matmul(a, b), {
    name: "TypeError",
    message: "Cannot run matmul as both operands must sum over the same length: a has 3, b has 4",
  });
  a.release();
  b.release();
});
