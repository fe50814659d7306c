// What several devices that work on one batch tell each other, over the host.

import type { GpuArray } from "./runtime/mod.ts";

/**
 * The rows of an array of every peer, one below the other in the order of ranks, [N · peers, ...]: the
 * same numbers, bit by bit. Without peers the array itself, with one more reference.
 *
 * @param x [N, ...], of the same shape everywhere.
 * @param groups Into how many groups the rows fall; those of a group stay together.
 */
export function gatherRows(x: GpuArray, groups = 1): GpuArray {
  const { gpu, gpu: { peers }, shape: [rows = 0, ...rest], label } = x;
  if (!peers) return x.retain();
  const whole = gpu.zeros([rows * peers.size, ...rest], label);
  copyGroups(x, whole, groups, gpu.copy.bind(gpu));
  sumOverPeers([whole]); // the others hold zeros where this one has its rows
  return whole;
}

/**
 * The rows that are this peer's own of what {@link gatherRows} makes, [N, ...].
 *
 * @param groups As it was gathered.
 */
export function ownRows(whole: GpuArray, groups = 1): GpuArray {
  const { gpu, gpu: { peers }, shape: [rows = 0, ...rest], label } = whole;
  if (!peers) return whole.retain();
  const own = gpu.empty([rows / peers.size, ...rest], label);
  copyGroups(own, whole, groups, (own, place) => gpu.copy(place, own));
  return own;
}

/** Calls `copy` with each group of this peer's rows and its place among those of all. */
function copyGroups(
  own: GpuArray,
  whole: GpuArray,
  groups: number,
  copy: (own: GpuArray, place: GpuArray) => void,
): void {
  const { size = 1, rank = 0 } = own.gpu.peers ?? {};
  const rows = (own.shape[0] ?? 0) / groups;
  for (let group = 0; group < groups; group++) {
    using part = own.slice(group * rows, rows);
    using place = whole.slice((group * size + rank) * rows, rows);
    copy(part, place);
  }
}

/**
 * Adds up arrays of all peers element by element, in place.
 *
 * @param what Gradients may be added up less exactly, by `sumGradients` of the peers.
 */
export function sumOverPeers(
  arrays: readonly GpuArray[],
  what: "numbers" | "gradients" = "numbers",
): void {
  const [{ gpu, gpu: { peers } }] = arrays as [GpuArray];
  if (!peers) return;
  const sum = (what === "gradients" ? peers.sumGradients : undefined) ?? peers.sum;
  gpu.onHost(arrays, (numbers) => sum.call(peers, numbers));
}

/** How many times as many images a batch has as this process sees of it. */
export function peerCount({ gpu: { peers } }: GpuArray): number {
  return peers?.size ?? 1;
}
