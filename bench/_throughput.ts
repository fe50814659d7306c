// Throughput of whole operations: all their kernels, packing and second passes included.

import type { Gpu, GpuArray } from "../kernels/runtime/mod.ts";
import type { Roof } from "./_roof.ts";

/** One operation to time. */
export interface Operation {
  readonly name: string;
  /** Floating-point operations that the mathematics takes. */
  readonly flops: number;
  /** Enqueues the operation once. */
  run(): GpuArray;
  /** Fails if the numbers of one run are wrong. */
  check(found: Float32Array): void;
}

/**
 * Checks every operation, then prints the median and the best of `rounds` runs of each, and the
 * median's share of the best matrix product. Winograd's count as the multiplications that it saves
 * too, so that shares above 100 % are possible.
 */
export async function printThroughput(
  gpu: Gpu,
  title: string,
  operations: readonly Operation[],
  roof: Roof,
  rounds = 9,
): Promise<void> {
  const { profiler } = gpu;
  if (!profiler) throw new Error("Cannot time operations: open the GPU with { profile: true }");
  for (const { run, check } of operations) {
    const output = run(); // compiles, too
    check(await output.read());
    output.release();
  }
  console.log(`\n${title}, on ${gpu.adapter.description}, ${rounds} runs`);
  console.log(row("operation", "median ms", "GFLOP/s", "best", "of matmul"));
  for (const { name, flops, run } of operations) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await profiler.report();
      run().release();
      await gpu.finish();
      const kernels = await profiler.report();
      times.push(kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0));
    }
    times.sort((a, b) => a - b);
    const [best = NaN, median = NaN] = [times[0], times[rounds >> 1]];
    const rate = (milliseconds: number) => (flops / milliseconds / 1e6).toFixed(1);
    const share = `${(100 * flops / median / 1e6 / roof.gigaflops).toFixed(0)} %`;
    console.log(row(name, median.toFixed(2), rate(median), rate(best), share));
  }
}

function row(name: string, ...numbers: string[]): string {
  return name.padEnd(54) + numbers.map((number) => number.padStart(11)).join("");
}
