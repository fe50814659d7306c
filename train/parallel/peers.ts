// What a device and a data set need to know of the other ranks.

import type { Peers } from "../../kernels/runtime/mod.ts";
import type { Collective, Reducible } from "./collective.ts";

/**
 * The other ranks as `openGpu` takes them: `openGpu({ peers: peersOf(ranks) })`.
 *
 * @param wire In which numbers gradients travel.
 */
export function peersOf(ranks: Collective, wire: "f32" | "f16" = "f32"): Peers {
  const { rank, size } = ranks;
  return {
    rank,
    size,
    sum: (data) => ranks.allReduce(data, "sum"),
    ...(wire === "f16" ? { sumGradients: (data) => ranks.sumInHalves(data) } : {}),
  };
}

/**
 * Which images of a data set a rank takes that is gone through once by all together, as a loader's share;
 * null where there is one rank alone.
 */
export function shareOf(
  { rank, size }: Collective,
): { readonly rank: number; readonly size: number; readonly batch: 1 } | null {
  return size === 1 ? null : { rank, size, batch: 1 };
}

/** Those of the items that a rank takes where all together take each once: as {@link shareOf} says. */
export function ownItems<T>({ rank, size }: Collective, items: readonly T[]): T[] {
  return items.filter((_, index) => index % size === rank);
}

/** Adds up arrays of all ranks, one after the other. */
export async function addUp(ranks: Collective, arrays: readonly Reducible[]): Promise<void> {
  if (ranks.size === 1) return;
  for (const array of arrays) await ranks.allReduce(array, "sum");
}
