// What several devices that work on one batch tell each other, over the host.

import type { GpuArray } from "./runtime/mod.ts";

/**
 * The rows of an array of every peer, one below the other in the order of ranks, [N · peers, ...]: the
 * same numbers, bit by bit. Without peers the array itself, with one more reference.
 *
 * @param x [N, ...], of the same shape everywhere.
 */
export function gatherRows(x: GpuArray): GpuArray {
  const { gpu, gpu: { peers }, shape: [rows = 0, ...rest], label } = x;
  if (!peers) return x.retain();
  const whole = gpu.zeros([rows * peers.size, ...rest], label);
  using own = whole.slice(peers.rank * rows, rows);
  gpu.copy(x, own);
  sumOverPeers([whole]); // the others hold zeros there
  return whole;
}

/** Adds up arrays of all peers element by element, in place. */
export function sumOverPeers(arrays: readonly GpuArray[]): void {
  const [{ gpu, gpu: { peers } }] = arrays as [GpuArray];
  if (!peers) return;
  gpu.onHost(arrays, async (all) => {
    for (const data of all) await peers.sum(data as Float32Array);
  });
}

/** How many times as many images a batch has as this process sees of it. */
export function peerCount({ gpu: { peers } }: GpuArray): number {
  return peers?.size ?? 1;
}
