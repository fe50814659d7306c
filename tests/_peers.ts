// Peers in one process: several devices that work on one batch, without an engine between them.

import type { Gpu, KernelClass, Peers } from "../kernels/runtime/mod.ts";
import { openGpu } from "../kernels/runtime/mod.ts";

/** Adds up what `count` ranks hand over, in the order of ranks, once all have done so. */
export function peersInMemory(count: number): Peers[] {
  let waiting: { readonly rank: number; readonly data: Float32Array; readonly done: () => void }[] =
    [];
  return Array.from({ length: count }, (_, rank) => ({
    rank,
    size: count,
    sum: (data: Float32Array) =>
      new Promise<void>((done) => {
        waiting.push({ rank, data, done });
        if (waiting.length < count) return;
        const all = waiting.sort((a, b) => a.rank - b.rank);
        waiting = [];
        const total = all[0]!.data.slice();
        for (const { data } of all.slice(1)) data.forEach((value, at) => total[at]! += value);
        for (const one of all) {
          one.data.set(total);
          one.done();
        }
      }),
  }));
}

/** Runs something on each of `count` devices that are peers, at the same time. */
export async function onPeers<T>(
  count: number,
  use: (gpu: Gpu, rank: number) => Promise<T>,
  kernels: KernelClass | "auto" = "auto",
): Promise<T[]> {
  const gpus = await Promise.all(peersInMemory(count).map((peers) => openGpu({ peers, kernels })));
  try {
    const found = await Promise.all(gpus.map(use));
    await Promise.all(gpus.map((gpu) => gpu.finish())); // promises of reads are kept late
    return found;
  } finally {
    for (const gpu of gpus) gpu.close();
  }
}
