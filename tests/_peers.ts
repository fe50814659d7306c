// Peers in one process: several devices that work on one batch, without an engine between them.

import type { Gpu, KernelClass } from "../kernels/runtime/mod.ts";
import { openGpu } from "../kernels/runtime/mod.ts";
import type { Collective } from "../train/parallel/collective.ts";
import { peersOf } from "../train/parallel/peers.ts";
import { shardsOf } from "../train/parallel/shards.ts";
import { Solo } from "../train/parallel/solo.ts";

/** Runs something on each of `count` devices that are peers, at the same time. */
export function onPeers<T>(
  count: number,
  use: (gpu: Gpu, rank: number) => Promise<T>,
  kernels: KernelClass | "auto" = "auto",
): Promise<T[]> {
  return onRanks(shardsOf(new Solo(), count), (gpu, { rank }) => use(gpu, rank), kernels);
}

/** Runs something on a device for each rank, at the same time. */
export async function onRanks<T>(
  ranks: readonly Collective[],
  use: (gpu: Gpu, ranks: Collective) => Promise<T>,
  kernels: KernelClass | "auto" = "auto",
): Promise<T[]> {
  const gpus = await Promise.all(ranks.map((own) => openGpu({ peers: peersOf(own), kernels })));
  try {
    const found = await Promise.all(ranks.map((own, index) => use(gpus[index] as Gpu, own)));
    await Promise.all(gpus.map((gpu) => gpu.finish())); // promises of reads are kept late
    return found;
  } finally {
    for (const gpu of gpus) gpu.close();
  }
}
