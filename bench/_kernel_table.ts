// Times of kernels by timestamp queries, as a table of medians beside the adapter's roof.

import { strict as assert } from "node:assert";
import type { AnyArray, Gpu, KernelProfile } from "../kernels/runtime/mod.ts";
import { assertAllClose, type Nd } from "../tests/_check.ts";
import type { Roof } from "./_roof.ts";

/** One launcher to time. */
export interface KernelCase {
  /** Name of the case; its kernels are listed below it. */
  readonly name: string;
  /** Enqueues the work once. The first array is the one to check. */
  run(): readonly (AnyArray | null)[];
  /** What the naive twin in doubles expects of it. */
  expected(): Nd;
}

/** Runs every case once and holds it against its twin; use shapes that a twin can afford. */
export async function checkKernels(cases: readonly KernelCase[]): Promise<void> {
  for (const { name, run, expected } of cases) {
    const arrays = run();
    const found = await arrays[0]?.read();
    assert.ok(found, `${name} made nothing`);
    assertAllClose(name, found, expected().data, { atol: 1e-5, rtol: 1e-5 });
    release(arrays);
  }
}

/** Times every kernel of every case and prints one row a kernel: the median of `rounds` runs. */
export async function printKernelTable(
  gpu: Gpu,
  title: string,
  cases: readonly KernelCase[],
  roof: Roof,
  rounds = 9,
): Promise<void> {
  const { profiler } = gpu;
  if (!profiler) throw new Error("Cannot time kernels: open the GPU with { profile: true }");
  console.log(`\n${title}, on ${gpu.adapter.description}, median of ${rounds}`);
  console.log(row("kernel", "ms", "GFLOP/s", "GB/s", "of the copy"));
  for (const { name, run } of cases) {
    console.log(name);
    const seen = new Map<string, KernelProfile[]>();
    for (let round = -1; round < rounds; round++) {
      release(run());
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
        `${(100 * gigabytes / roof.gigabytes).toFixed(0)} %`,
      ));
    }
  }
}

function release(arrays: readonly (AnyArray | null)[]): void {
  for (const array of arrays) array?.release();
}

function median(runs: readonly KernelProfile[]): KernelProfile {
  const sorted = runs.toSorted((a, b) => a.milliseconds - b.milliseconds);
  return sorted[sorted.length >> 1] as KernelProfile;
}

function row(name: string, ...numbers: string[]): string {
  return name.padEnd(34) + numbers.map((number) => number.padStart(12)).join("");
}
