// Whether all ranks have the same: what they are told before they begin, and their weights while they train.

import { createHash } from "node:crypto";
import { digestOf } from "../base/digest.ts";
import { type Collective, CollectiveError } from "./collective.ts";
import { gatherTexts } from "./gather.ts";

/**
 * Compares texts of all ranks.
 *
 * @param texts What should be the same everywhere, by what it is called.
 * @returns What differs from rank 0's, and on which rank first; null where nothing does.
 */
export async function differenceBetween(
  ranks: Collective,
  texts: Readonly<Record<string, string>>,
): Promise<{ readonly what: string; readonly rank: number } | null> {
  const names = Object.keys(texts);
  const own = Object.values(texts).map((text) => digestOf(new TextEncoder().encode(text)));
  const all = (await gatherTexts(ranks, own.join(" "))).map((digests) => digests.split(" "));
  for (const [rank, digests] of all.entries()) {
    const at = digests.findIndex((digest, index) => digest !== all[0]?.[index]);
    if (at >= 0) return { what: names[at] as string, rank };
  }
  return null;
}

/**
 * Compares the weights of all ranks.
 *
 * @param weights All weights of this rank, in one order.
 * @param step Updates made, for the message.
 * @throws {CollectiveError} If they differ.
 */
export async function checkSameWeights(
  ranks: Collective,
  weights: readonly Float32Array[],
  step: number,
): Promise<void> {
  const hash = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of weights) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  const difference = await differenceBetween(ranks, { weights: hash.digest("hex") });
  if (difference === null) return;
  throw new CollectiveError(
    `Ranks have drifted apart: after ${step} steps the weights of rank ${difference.rank} are not those of ` +
      `rank 0: expected the same bits, as all add the same gradients; use adapters and drivers of one kind, ` +
      `and resume from the last checkpoint`,
  );
}
