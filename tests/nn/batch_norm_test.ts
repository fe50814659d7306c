import { strict as assert } from "node:assert";
import { batchNorm } from "../../nn/functional/batch_norm.ts";
import type { Tensor } from "../../nn/tensor.ts";
import { tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp, type Nd, randomNd, seededRandom } from "../_check.ts";
import { testGpu } from "../_device.ts";
import * as reference from "../_reference/norm.ts";
import { map } from "../_reference/elementwise.ts";

const EPS = 1e-5;

interface Statistics {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** The operation on x, weight and bias with running statistics of its own. */
function withStatistics(
  { mean, variance }: Statistics,
  options: { training: boolean; relu?: boolean },
): (x: Tensor, weight: Tensor, bias: Tensor) => Tensor {
  return (x, weight, bias) => {
    const runningMean = x.gpu.upload(mean, [mean.length], "running mean");
    const runningVar = x.gpu.upload(variance, [variance.length], "running variance");
    const y = batchNorm(x, { weight, bias }, { runningMean, runningVar }, options);
    runningMean.release();
    runningVar.release();
    return y;
  };
}

function fresh(channels: number): Statistics {
  return { mean: new Float32Array(channels), variance: new Float32Array(channels).fill(1) };
}

const relu = map((x) => Math.max(0, x));

for (const [images, channels, height, width] of [[3, 5, 7, 9], [2, 3, 17, 33], [5, 2, 1, 1]]) {
  const shapes = [[images, channels, height, width], [channels], [channels]];
  const options = { shapes, gradAtol: 3e-4, gradRtol: 3e-4 };

  Deno.test(`batch norm of ${shapes[0]} by its batch matches its reference`, () =>
    checkOp(
      withStatistics(fresh(channels), { training: true }),
      (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
      options,
    ));

  Deno.test(`batch norm of ${shapes[0]} by running statistics matches its reference`, () => {
    const mean = Float32Array.from({ length: channels }, (_, c) => 0.25 * c - 0.5);
    const variance = Float32Array.from({ length: channels }, (_, c) => 0.5 + c);
    return checkOp(
      withStatistics({ mean, variance }, { training: false }),
      (x, weight, bias) => reference.frozenBatchNorm(x, weight, bias, { mean, variance }, EPS),
      options,
    );
  });
}

Deno.test("batch norm with its ReLU matches batch norm, then ReLU", async () => {
  const shapes = [[2, 4, 6, 5], [4], [4]];
  const random = seededRandom(11);
  const weight = randomNd([4], random, [0.5, 1.5]);
  const bias = randomNd([4], random);
  const x = awayFromKink(randomNd([2, 4, 6, 5], random), weight, bias);
  const inputs = [x.data, weight.data, bias.data];
  const mean = new Float32Array([0.1, 0.2, 0, -0.1]);
  const variance = new Float32Array([0.3, 0.4, 0.5, 0.2]);
  await checkOp(
    withStatistics(fresh(4), { training: true, relu: true }),
    (x, weight, bias) => relu(reference.batchNorm(x, weight, bias, EPS)),
    { shapes, inputs, gradAtol: 3e-4, gradRtol: 3e-4 },
  );
  await checkOp(
    withStatistics({ mean, variance }, { training: false, relu: true }),
    (x, weight, bias) => relu(reference.frozenBatchNorm(x, weight, bias, { mean, variance }, EPS)),
    { shapes, inputs },
  );
});

/** Moves the inputs whose output is near 0, as finite differences would step over the kink. */
function awayFromKink(x: Nd, weight: Nd, bias: Nd): Nd {
  for (let round = 0; round < 20; round++) {
    const { data } = reference.batchNorm(x, weight, bias, EPS);
    if (data.every((value) => Math.abs(value) > 0.01)) return x;
    x.data.forEach((value, i) => {
      if (Math.abs(data[i]) <= 0.01) x.data[i] = Math.fround(value + 0.05);
    });
  }
  throw new Error("no inputs away from the kink were found");
}

Deno.test("batch norm without parameters that train gives the same gradient to x", () =>
  checkOp(
    withStatistics(fresh(3), { training: true }),
    (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
    { shapes: [[2, 3, 4, 5], [3], [3]], gradients: [true, false, false], gradAtol: 3e-4 },
  ));

Deno.test("training moves the running statistics, evaluation leaves them", async () => {
  const gpu = await testGpu();
  const values = randomNd([3, 5, 7, 9], seededRandom(4), [-2, 3]);
  using x = tensor(gpu, Float32Array.from(values.data), values.shape);
  using weight = tensor(gpu, new Float32Array(5).fill(1), [5]);
  using bias = tensor(gpu, new Float32Array(5), [5]);
  using runningMean = gpu.zeros([5], "running mean");
  using runningVar = gpu.upload(new Float32Array(5).fill(1), [5], "running variance");
  const run = (training: boolean) => {
    const running = { runningMean, runningVar };
    batchNorm(x, { weight, bias }, running, { training, momentum: 0.3 }).dispose();
  };
  run(false);
  assert.deepEqual([...await runningMean.read()], [0, 0, 0, 0, 0]);
  run(true);
  const expected = reference.runningStatistics(values, 0.3);
  assertAllClose("running mean", await runningMean.read(), expected.mean);
  assertAllClose("running variance", await runningVar.read(), expected.variance);
});

Deno.test("batch norm is exact far from zero, where E[x²] − E[x]² has no digits left", async () => {
  const shape = [2, 2, 33, 65];
  const random = seededRandom(7);
  const data = randomNd(shape, random).data.map((x) => Math.fround(4096 + x));
  await checkOp(
    withStatistics(fresh(2), { training: true }),
    (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
    { shapes: [shape, [2], [2]], inputs: [data], gradients: [false, false, false], atol: 2e-3 },
  );
});

Deno.test("batch norm of one value a channel is refused in training", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [1, 2], [1, 2, 1, 1]);
  using weight = tensor(gpu, [1, 1], [2]);
  using bias = tensor(gpu, [0, 0], [2]);
  using runningMean = gpu.zeros([2], "running mean");
  using runningVar = gpu.zeros([2], "running variance");
  assert.throws(
    () => batchNorm(x, { weight, bias }, { runningMean, runningVar }, { training: true }),
    /Cannot run batch_norm in training on \[1, 2, 1, 1\]: one value per channel has no variance/,
  );
  using wrong = tensor(gpu, [1, 1, 1], [3]);
  assert.throws(
    () => batchNorm(x, { weight: wrong, bias }, { runningMean, runningVar }, { training: false }),
    /weight must be \[2\], one number per channel: it is \[3\]/,
  );
});
