// What the adapter gives at best, measured in the same run as everything that is held against it.

import { scaleForward } from "../kernels/elementwise.ts";
import { matmul } from "../kernels/dense/matmul.ts";
import type { Gpu, GpuArray } from "../kernels/runtime/mod.ts";

/** The two roofs of the roofline model (Williams et al., 2009). */
export interface Roof {
  /** 10^9 floating-point operations a second: the best matrix product of three sizes. */
  readonly gigaflops: number;
  /** 10^9 bytes a second, read and written: the best pass that scales 8 Mi floats. */
  readonly gigabytes: number;
}

const ROUNDS = 7;

/** Measures both roofs, each the best of seven runs, and prints them. */
export async function measureRoof(gpu: Gpu): Promise<Roof> {
  let gigaflops = 0;
  for (const size of [256, 512, 1024]) {
    using square = gpu.zeros([size, size], "operand");
    const milliseconds = await fastest(gpu, () => matmul(square, square));
    gigaflops = Math.max(gigaflops, 2 * size ** 3 / milliseconds / 1e6);
  }
  using floats = gpu.zeros([2 ** 23], "floats");
  const milliseconds = await fastest(gpu, () => scaleForward(floats, 2));
  const roof = { gigaflops, gigabytes: 2 * floats.byteLength / milliseconds / 1e6 };
  console.log(
    `\n${gpu.adapter.description}: the best matrix product runs at ${roof.gigaflops.toFixed(1)} ` +
      `GFLOP/s, the best copy at ${roof.gigabytes.toFixed(1)} GB/s`,
  );
  return roof;
}

async function fastest(gpu: Gpu, run: () => GpuArray): Promise<number> {
  const { profiler } = gpu;
  if (!profiler) throw new Error("Cannot measure the roof: open the GPU with { profile: true }");
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await profiler.report();
    run().release();
    await gpu.finish();
    const kernels = await profiler.report();
    times.push(kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0));
  }
  return Math.min(...times);
}
