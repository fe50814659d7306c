// Throughput of the kernels that memory bounds: element-wise maps, sums, normalisations and SGD, on
// planes of even and of odd size: `deno task bench` or `deno bench bench/norm_bench.ts`.

import {
  batchNormBackward,
  batchNormForward,
  batchNormResidualBackward,
} from "../kernels/batch_norm.ts";
import { addForward, addReluForward, leakyReluForward } from "../kernels/elementwise.ts";
import { groupNormBackward, groupNormForward } from "../kernels/group_norm.ts";
import { multiplyPlanes } from "../kernels/plane_maps.ts";
import { sumForward } from "../kernels/reduce.ts";
import { type Gpu, type GpuArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import { sgdStep } from "../kernels/sgd.ts";
import { type Nd, randomNd, seededRandom } from "../tests/_check.ts";
import { map, mulChannels, sum, zip } from "../tests/_reference/elementwise.ts";
import { batchNorm, groupNorm } from "../tests/_reference/norm.ts";
import { checkKernels, type KernelCase, printKernelTable } from "./_kernel_table.ts";
import { measureRoof } from "./_roof.ts";

function casesOf(gpu: Gpu, shape: Shape): KernelCase[] {
  const [images = 1, channels = 1] = shape;
  const random = seededRandom(1);
  const draw = (shape: Shape): [Nd, GpuArray] => {
    const values = randomNd(shape, random, [0.5, 1.5]);
    return [values, gpu.upload(Float32Array.from(values.data), shape, "input")];
  };
  const [[xs, x], [grads, grad], [, velocity]] = [draw(shape), draw(shape), draw(shape)];
  const [factors, factor] = draw([images, channels]);
  const [weights, weight] = draw([channels]);
  const [biases, bias] = draw([channels]);
  const [[, runningMean], [, runningVariance]] = [draw([channels]), draw([channels])];
  const relu = map((value) => Math.max(0, value));
  const norm = { weight, bias, runningMean, runningVariance };
  const batch = { training: true, momentum: 0.1, eps: 1e-5 };
  const groups = Math.max(1, channels / 4);
  return [
    { name: "relu", run: () => [leakyReluForward(x, 0)], expected: () => relu(xs) },
    {
      name: "add",
      run: () => [addForward(x, grad)],
      expected: () => zip((a, b) => a + b)(xs, grads),
    },
    {
      name: "add, then relu",
      run: () => [addReluForward(x, grad)],
      expected: () => relu(zip((a, b) => a + b)(xs, grads)),
    },
    { name: "sum", run: () => [sumForward(x)], expected: () => sum(xs) },
    {
      name: "multiply channels",
      run: () => [multiplyPlanes(x, factor)],
      expected: () => mulChannels(xs, factors),
    },
    {
      name: "batch norm and relu",
      run: () => {
        const forward = batchNormForward(x, norm, { ...batch, relu: true });
        const gradients = batchNormBackward(grad, x, forward, { training: true, needsInput: true });
        return [forward.output, forward.coefficients, ...Object.values(gradients)];
      },
      expected: () => relu(batchNorm(xs, weights, biases, 1e-5)),
    },
    {
      name: "batch norm, residual and relu",
      run: () => {
        const forward = batchNormForward(x, norm, { ...batch, relu: true }, grad);
        const options = { training: true, needsInput: true, overwrite: false };
        const gradients = batchNormResidualBackward(grad, x, forward, options);
        return [forward.output, forward.coefficients, ...Object.values(gradients)];
      },
      expected: () => relu(zip((a, b) => a + b)(batchNorm(xs, weights, biases, 1e-5), grads)),
    },
    {
      name: "group norm",
      run: () => {
        const forward = groupNormForward(x, weight, bias, { groups, eps: 1e-5, relu: false });
        const gradients = groupNormBackward(grad, x, weight, forward, { groups, needsInput: true });
        return [forward.output, forward.coefficients, ...Object.values(gradients)];
      },
      expected: () => groupNorm(xs, weights, biases, groups, 1e-5),
    },
    {
      name: "SGD",
      run: () => {
        sgdStep(x, velocity, grad, { learningRate: 0, momentum: 0.9, weightDecay: 0 });
        return [x.retain()];
      },
      expected: () => xs, // at a rate of 0, so that the cases above see the same numbers
    },
  ];
}

const gpu = await openGpu({ profile: true });
await checkKernels(casesOf(gpu, [2, 8, 5, 7]));
const roof = await measureRoof(gpu);
for (const shape of [[4, 64, 64, 64], [4, 64, 33, 65], [4, 256, 17, 33]]) {
  await printKernelTable(gpu, `Memory-bound kernels on [${shape}]`, casesOf(gpu, shape), roof);
}
gpu.close();
