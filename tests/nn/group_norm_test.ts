import { strict as assert } from "node:assert";
import { groupNorm } from "../../nn/functional/group_norm.ts";
import { tensor } from "../../nn/tensor.ts";
import { checkOp, randomNd, seededRandom } from "../_check.ts";
import { testGpu } from "../_device.ts";
import * as reference from "../_reference/norm.ts";

const EPS = 1e-5;

for (
  const [shape, groups] of [[[3, 6, 5, 7], 3], [[2, 4, 17, 33], 2], [[2, 8, 3, 3], 8], [[
    1,
    5,
    3,
    5,
  ], 1]] as const
) {
  const channels = shape[1];

  Deno.test(`group norm of ${shape} in ${groups} groups matches its reference`, () =>
    checkOp(
      (x, weight, bias) => groupNorm(x, weight, bias, { groups }),
      (x, weight, bias) => reference.groupNorm(x, weight, bias, groups, EPS),
      { shapes: [shape, [channels], [channels]], gradAtol: 3e-4, gradRtol: 3e-4 },
    ));
}

Deno.test("group norm with its ReLU cuts the output and the gradient", () => {
  // One group a channel pair and large weights: no output is near the kink.
  const shape = [2, 4, 3, 5];
  const data = randomNd(shape, seededRandom(5)).data.map((x) => Math.fround(x + 2 * Math.sign(x)));
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
    },
  );
});

Deno.test("group norm is exact far from zero", () => {
  const shape = [1, 4, 33, 65];
  const data = randomNd(shape, seededRandom(7)).data.map((x) => Math.fround(4096 + x));
  return checkOp(
    (x, weight, bias) => groupNorm(x, weight, bias, { groups: 2 }),
    (x, weight, bias) => reference.groupNorm(x, weight, bias, 2, EPS),
    { shapes: [shape, [4], [4]], inputs: [data], gradients: [false, false, false], atol: 2e-3 },
  );
});

Deno.test("group norm whose groups do not divide the channels is refused", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, new Float32Array(6), [1, 6]);
  using ones = tensor(gpu, new Float32Array(6), [6]);
  assert.throws(
    () => groupNorm(x, ones, ones, { groups: 4 }),
    /Cannot run group_norm as groups must divide channels: there are 4 groups and 6 channels/,
  );
});
