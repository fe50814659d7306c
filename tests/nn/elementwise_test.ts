import { strict as assert } from "node:assert";
import {
  add,
  addRelu,
  leakyRelu,
  mean,
  mul,
  mulChannels,
  relu,
  scale,
  sigmoid,
  sum,
} from "../../nn/functional/elementwise.ts";
import { backward, scope } from "../../nn/tape.ts";
import { tensor } from "../../nn/tensor.ts";
import { checkOp, randomNd, seededRandom } from "../_check.ts";
import { testGpu } from "../_device.ts";
import * as reference from "../_reference/elementwise.ts";

const SHAPE = [3, 5, 7, 9];

/** Inputs at least 0.02 from 0, where a ReLU has no kink that differences could step over. */
function awayFromZero(shape: readonly number[], seed: number): Float64Array {
  return randomNd(shape, seededRandom(seed)).data.map((x) => Math.fround(x + Math.sign(x) * 0.02));
}

Deno.test("relu and leaky relu match their reference", async () => {
  const options = { shapes: [SHAPE], inputs: [awayFromZero(SHAPE, 3)] };
  await checkOp(relu, reference.map((x) => Math.max(0, x)), options);
  await checkOp(
    (x) => leakyRelu(x, 0.2),
    reference.map((x) => (x > 0 ? x : 0.2 * x)),
    options,
  );
});

Deno.test("sigmoid matches its reference", async () => {
  const formula = reference.map((x) => 1 / (1 + Math.exp(-x)));
  await checkOp(sigmoid, formula, { shapes: [SHAPE], range: [-6, 6] });
});

Deno.test("sigmoid saturates without a NaN", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [-200, -88, 88, 200], [4]);
  using y = sigmoid(x);
  assert.deepEqual([...await y.read()].map((value) => Math.round(value)), [0, 0, 1, 1]);
});

Deno.test("relu lets a NaN through, so that it is noticed", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [NaN, -1, 2], [3]);
  using y = relu(x);
  using z = addRelu(x, x);
  assert.deepEqual([...await y.read()].map((value) => value + 0), [NaN, 0, 2]); // -0 + 0 is 0
  assert.deepEqual([...await z.read()], [NaN, 0, 4]);
});

Deno.test("add and mul match their references", async () => {
  await checkOp(add, reference.zip((a, b) => a + b), { shapes: [SHAPE, SHAPE] });
  await checkOp(mul, reference.zip((a, b) => a * b), { shapes: [SHAPE, SHAPE] });
});

Deno.test("add relu matches its reference", async () => {
  const small = awayFromZero(SHAPE, 4).map((x) => x / 128);
  await checkOp(addRelu, reference.zip((a, b) => Math.max(0, a + b)), {
    shapes: [SHAPE, SHAPE],
    inputs: [awayFromZero(SHAPE, 3), small],
  });
});

Deno.test("a tensor added to itself and to others gets the sum of its gradients", async () => {
  await checkOp(
    (x, y) => add(add(x, x), mul(add(x, y), x)),
    reference.zip((x, y) => 2 * x + (x + y) * x),
    { shapes: [[7, 5], [7, 5]] },
  );
  await checkOp((x) => addRelu(x, x), reference.map((x) => Math.max(0, 2 * x)), {
    shapes: [SHAPE],
    inputs: [awayFromZero(SHAPE, 5)],
  });
});

Deno.test("mul channels matches its reference", async () => {
  await checkOp(mulChannels, reference.mulChannels, { shapes: [[3, 5, 7, 9], [3, 5]] });
  await checkOp(mulChannels, reference.mulChannels, { shapes: [[2, 3, 17, 65], [2, 3]] });
  const shapes = [[2, 70, 1, 1], [2, 70]];
  await checkOp(mulChannels, reference.mulChannels, { shapes, narrow: 0 });
});

Deno.test("scale, sum and mean match their references", async () => {
  await checkOp((x) => scale(x, -2.5), reference.map((x) => -2.5 * x), { shapes: [SHAPE] });
  await checkOp(sum, reference.sum, { shapes: [[4099]], atol: 1e-4 });
  await checkOp(sum, reference.sum, { shapes: [[]] });
  const meanOf = (count: number) => (x: Parameters<typeof reference.sum>[0]) =>
    reference.map((total) => total / count)(reference.sum(x));
  await checkOp(mean, meanOf(945), { shapes: [SHAPE] });
});

Deno.test("a sum of many numbers keeps its digits", async () => {
  const gpu = await testGpu();
  const count = 1 << 20;
  using x = tensor(gpu, new Float32Array(count).fill(0.1), [count]);
  using total = sum(x);
  const [found] = await total.read();
  assert.ok(Math.abs(found / (count * Math.fround(0.1)) - 1) < 1e-6, `the sum is ${found}`);
});

Deno.test("a sum of one array twice is the same to the bit", async () => {
  const gpu = await testGpu();
  const { data, shape } = randomNd([70001], seededRandom(9));
  using x = tensor(gpu, Float32Array.from(data), shape);
  using first = sum(x);
  using second = sum(x);
  assert.deepEqual(await first.read(), await second.read());
});

Deno.test("operands of different shapes are refused with both shapes", async () => {
  const gpu = await testGpu();
  using a = tensor(gpu, [1, 2], [2]);
  using b = tensor(gpu, [1, 2, 3], [3]);
  assert.throws(() => add(a, b), /Cannot run add as all arrays must have one shape.*\[2\].*\[3\]/);
  assert.throws(() => mulChannels(a, b), /Cannot run planes.multiply/);
  assert.throws(() => leakyRelu(a, -1), RangeError);
});

Deno.test("the gradient of a shared input survives two backward calls", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [1, -2, 3], [3], { requiresGrad: true });
  for (let call = 0; call < 2; call++) scope(() => backward(sum(add(x, scale(x, 2)))));
  assert.deepEqual([...(await x.grad?.read() ?? [])], [6, 6, 6]);
});
