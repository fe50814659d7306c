// The two classes of kernels in turns on one adapter, compared with each other first: `deno task bench` or
// `deno bench bench/kernel_classes_bench.ts`. A software adapter is slow at the class made for GPUs.

import { conv2dForward, conv2dInputGradient } from "../kernels/dense/conv2d.ts";
import { conv2dParameterGradients } from "../kernels/dense/conv2d_weight.ts";
import { matmul } from "../kernels/dense/matmul.ts";
import { type Gpu, type GpuArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import { assertAllClose, randomNd, seededRandom } from "../tests/_check.ts";
import { KERNEL_CLASSES } from "../tests/_device.ts";

const ROUNDS = 5;

/** Matrix products, and the work of a step on S1, here with one image. */
function operations(gpu: Gpu): Map<string, () => GpuArray> {
  const random = seededRandom(1);
  const upload = (shape: Shape) =>
    gpu.upload(Float32Array.from(randomNd(shape, random).data), shape, "operand");
  const [a, b] = [upload([256, 256]), upload([256, 256])];
  const [x, weight, gradOutput] = [[1, 64, 32, 64], [64, 64, 3, 3], [1, 64, 32, 64]].map(upload);
  const geometry = { stride: 1, padding: 1, dilation: 1 };
  const needs = { weight: true, bias: false };
  return new Map([
    ["matmul 256", () => matmul(a, b)],
    ["S1, one image, forward", () => conv2dForward(x!, weight!, null, geometry)],
    [
      "S1, one image, input gradient",
      () => conv2dInputGradient(gradOutput!, weight!, x!.shape, geometry),
    ],
    [
      "S1, one image, weight gradient",
      () => conv2dParameterGradients(gradOutput!, x!, weight!.shape, geometry, needs).weight!,
    ],
  ]);
}

async function milliseconds(gpu: Gpu, run: () => GpuArray): Promise<number> {
  await gpu.finish();
  await gpu.profiler!.report();
  run().release();
  await gpu.finish();
  const kernels = await gpu.profiler!.report();
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}

function row(name: string, ...values: string[]): string {
  return name.padEnd(34) + values.map((value) => value.padStart(12)).join("");
}

const gpus = await Promise.all(
  KERNEL_CLASSES.map((kernels) => openGpu({ kernels, profile: true })),
);
const runs = gpus.map(operations);
console.log(`\nClasses of kernels, on ${gpus[0]!.adapter.description}, median ms of ${ROUNDS}`);
console.log(row("operation", ...KERNEL_CLASSES, "ratio"));
for (const name of runs[0]!.keys()) {
  const results = await Promise.all(runs.map(async (operations) => {
    using output = operations.get(name)!();
    return await output.read();
  }));
  assertAllClose(name, results[1]!, results[0]!, { atol: 1e-3 });
  const times = gpus.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, gpu] of gpus.entries()) {
      times[index]!.push(await milliseconds(gpu, runs[index]!.get(name)!));
    }
  }
  const [direct, shared] = times.map((list) => list.sort((a, b) => a - b)[ROUNDS >> 1]!);
  const ratio = (direct! / shared!).toFixed(2);
  console.log(row(name, direct!.toFixed(2), shared!.toFixed(2), ratio));
}
for (const gpu of gpus) gpu.close();
