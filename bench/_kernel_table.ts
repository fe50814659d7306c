// Times of kernels by timestamp queries, as a table of medians.

import type { Gpu, KernelProfile } from "../kernels/runtime/mod.ts";

/** One launcher to time. */
export interface KernelCase {
  /** Name of the case; its kernels are listed below it. */
  readonly name: string;
  /** Enqueues the work once and releases what it makes. */
  run(): void;
}

/** Times every kernel of every case and prints one row a kernel: the median of `rounds` runs. */
export async function printKernelTable(
  gpu: Gpu,
  title: string,
  cases: readonly KernelCase[],
  rounds = 9,
): Promise<void> {
  const { profiler } = gpu;
  if (!profiler) throw new Error("Cannot time kernels: open the GPU with { profile: true }");
  console.log(`\n${title}, on ${gpu.adapter.description}, median of ${rounds}`);
  console.log(row("kernel", "ms", "GFLOP/s", "GB/s"));
  for (const { name, run } of cases) {
    console.log(name);
    const seen = new Map<string, KernelProfile[]>();
    for (let round = -1; round < rounds; round++) {
      run();
      await gpu.finish();
      const report = await profiler.report();
      if (round < 0) continue; // the first run compiles
      for (const kernel of report) {
        seen.set(kernel.label, [...seen.get(kernel.label) ?? [], kernel]);
      }
    }
    for (const [label, runs] of seen) {
      const { milliseconds, gigaflops, gigabytes } = median(runs);
      console.log(row(
        `  ${label}`,
        milliseconds.toFixed(3),
        gigaflops > 0 ? gigaflops.toFixed(1) : "",
        gigabytes.toFixed(2),
      ));
    }
  }
}

function median(runs: readonly KernelProfile[]): KernelProfile {
  const sorted = runs.toSorted((a, b) => a.milliseconds - b.milliseconds);
  return sorted[sorted.length >> 1] as KernelProfile;
}

function row(name: string, ...numbers: string[]): string {
  return name.padEnd(34) + numbers.map((number) => number.padStart(10)).join("");
}
