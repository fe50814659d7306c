// Throughput of the kernels that memory bounds: element-wise maps, sums, normalisations and SGD, on
// planes of even and of odd size: `deno task bench` or `deno bench bench/norm_bench.ts`.

import { batchNormBackward, batchNormForward } from "../kernels/batch_norm.ts";
import { addForward, addReluForward, leakyReluForward } from "../kernels/elementwise.ts";
import { groupNormBackward, groupNormForward } from "../kernels/group_norm.ts";
import { multiplyPlanes } from "../kernels/plane_maps.ts";
import { sumForward } from "../kernels/reduce.ts";
import { type Gpu, type GpuArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import { sgdStep } from "../kernels/sgd.ts";
import { randomNd, seededRandom } from "../tests/_check.ts";
import { type KernelCase, printKernelTable } from "./_kernel_table.ts";

/** A case from a function that returns what it made. */
function made(name: string, run: () => (GpuArray | null)[]): KernelCase {
  return {
    name,
    run() {
      for (const array of run()) array?.release();
    },
  };
}

function casesOf(gpu: Gpu, shape: Shape): KernelCase[] {
  const [images = 1, channels = 1] = shape;
  const random = seededRandom(1);
  const upload = (shape: Shape) =>
    gpu.upload(Float32Array.from(randomNd(shape, random, [0.5, 1.5]).data), shape, "input");
  const [x, grad, velocity] = [upload(shape), upload(shape), upload(shape)];
  const factor = upload([images, channels]);
  const [weight, bias, runningMean, runningVariance] = [0, 1, 2, 3].map(() => upload([channels]));
  return [
    made("relu", () => [leakyReluForward(x, 0)]),
    made("add", () => [addForward(x, grad)]),
    made("add, then relu", () => [addReluForward(x, grad)]),
    made("sum", () => [sumForward(x)]),
    made("multiply channels", () => [multiplyPlanes(x, factor)]),
    made("batch norm and relu", () => {
      const arrays = { weight, bias, runningMean, runningVariance };
      const options = { training: true, momentum: 0.1, eps: 1e-5, relu: true };
      const forward = batchNormForward(x, arrays, options);
      const gradients = batchNormBackward(grad, x, forward, { training: true, needsInput: true });
      return [forward.output, forward.coefficients, ...Object.values(gradients)];
    }),
    made("group norm", () => {
      const groups = channels / 4;
      const forward = groupNormForward(x, weight, bias, { groups, eps: 1e-5, relu: false });
      const gradients = groupNormBackward(grad, x, weight, forward, { groups, needsInput: true });
      return [forward.output, forward.coefficients, ...Object.values(gradients)];
    }),
    made("SGD", () => {
      sgdStep(x, velocity, grad, { learningRate: 0, momentum: 0.9, weightDecay: 0 });
      return [];
    }),
  ];
}

const gpu = await openGpu({ profile: true });
for (const shape of [[4, 64, 64, 64], [4, 64, 33, 65], [4, 256, 17, 33]]) {
  await printKernelTable(gpu, `Memory-bound kernels on [${shape}]`, casesOf(gpu, shape));
}
gpu.close();
