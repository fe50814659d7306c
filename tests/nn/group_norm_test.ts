import { strict as assert } from "node:assert";
import { groupNormBackward, groupNormForward } from "../../kernels/group_norm.ts";
import { groupNorm } from "../../nn/functional/group_norm.ts";
import { tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp, randomNd, seededRandom } from "../_check.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import * as reference from "../_reference/norm.ts";

const EPS = 1e-5;

/** Groups of single values, of planes of few and of many elements, and one too large to go at once. */
const CASES = [
  [[3, 6, 5, 7], 3],
  [[2, 4, 17, 33], 2],
  [[2, 8, 3, 3], 8],
  [[1, 5, 3, 5], 1],
  [[2, 600, 1, 1], 2],
  [[1, 2, 131, 133], 1],
] as const;

for (const kernels of KERNEL_CLASSES) {
  for (const [shape, groups] of CASES) {
    const [, channels] = shape;
    Deno.test(`group norm of ${shape} in ${groups} groups matches its reference, ${kernels}`, () =>
      checkOp(
        (x, weight, bias) => groupNorm(x, weight, bias, { groups }),
        (x, weight, bias) => reference.groupNorm(x, weight, bias, groups, EPS),
        {
          shapes: [shape, [channels], [channels]],
          gradAtol: shape[2] > 100 ? 3e-3 : 3e-4, // of sums of 17,423 numbers
          gradRtol: shape[2] > 100 ? 1e-3 : 3e-4,
          narrow: channels === 600 ? 0 : 512, // which binds less than two numbers a plane
          kernels,
        },
      ));
  }

  Deno.test(`group norm with its ReLU cuts the output and the gradient, ${kernels}`, () => {
    // One group a channel pair and large weights: no output is near the kink.
    const shape = [2, 4, 3, 5];
    const data = randomNd(shape, seededRandom(5)).data
      .map((x) => Math.fround(x + 2 * Math.sign(x)));
    return checkOp(
      (x, weight, bias) => groupNorm(x, weight, bias, { groups: 2, relu: true }),
      (x, weight, bias) => {
        const { data, shape } = reference.groupNorm(x, weight, bias, 2, EPS);
        return { data: data.map((y) => Math.max(0, y)), shape };
      },
      {
        shapes: [shape, [4], [4]],
        inputs: [data, [1, 1.25, 0.75, 1.5], [0.01, 0, -0.02, 0.03]],
        gradAtol: 3e-4,
        gradRtol: 3e-4,
        kernels,
      },
    );
  });

  Deno.test(`group norm is exact far from zero, ${kernels}`, () => {
    const shape = [1, 4, 33, 65];
    const data = randomNd(shape, seededRandom(7)).data.map((x) => Math.fround(4096 + x));
    return checkOp(
      (x, weight, bias) => groupNorm(x, weight, bias, { groups: 2 }),
      (x, weight, bias) => reference.groupNorm(x, weight, bias, 2, EPS),
      {
        shapes: [shape, [4], [4]],
        inputs: [data],
        gradients: [false, false, false],
        atol: 2e-3,
        kernels,
      },
    );
  });

  Deno.test(`group norm shows a NaN in its group, ReLU or not, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const values = Float32Array.from({ length: 24 }, (_, i) => i % 5);
    values[8] = NaN;
    using x = tensor(gpu, values, [1, 4, 2, 3]);
    using ones = tensor(gpu, [1, 1, 1, 1], [4]);
    for (const relu of [false, true]) {
      using y = groupNorm(x, ones, ones, { groups: 2, relu });
      assert.deepEqual(
        Array.from(await y.read(), Number.isNaN),
        [...values.keys()].map((i) => i < 12),
      );
    }
  });

  Deno.test(`group norm adds to the gradients of its parameters, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const random = seededRandom(9);
    const upload = (shape: number[]) =>
      gpu.upload(Float32Array.from(randomNd(shape, random).data), shape, "input");
    using x = upload([2, 4, 5, 3]);
    using gradOutput = upload([2, 4, 5, 3]);
    using weight = upload([4]);
    using bias = upload([4]);
    const forward = groupNormForward(x, weight, bias, { groups: 2, eps: EPS, relu: false });
    const run = (into: Partial<Parameters<typeof groupNormBackward>[4]>) =>
      groupNormBackward(gradOutput, x, weight, forward, { groups: 2, needsInput: true, ...into });
    const alone = run({});
    using sum = gpu.upload(Float32Array.of(1, 2, 3, 4), [4], "sum of gradients");
    const added = run({ weight: { array: sum, accumulate: true } });
    const [before, after] = await gpu.readAll([alone.gradWeight, added.gradWeight]);
    assertAllClose("sum", after as Float32Array, Array.from(before ?? [], (g, c) => g + c + 1));
    run({ weight: { array: sum, accumulate: false } }).gradWeight.release();
    assert.deepEqual(await sum.read(), before);
  });
}

Deno.test("group norm whose groups do not divide the channels is refused", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, new Float32Array(6), [1, 6]);
  using ones = tensor(gpu, new Float32Array(6), [6]);
  assert.throws(
    () => groupNorm(x, ones, ones, { groups: 4 }),
    /Cannot run group_norm as groups must divide channels: there are 4 groups and 6 channels/,
  );
});
