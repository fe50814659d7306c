// Whether all ranks have the same: what they are told before they begin, and their weights while they train.

import { createHash } from "node:crypto";
import { type Collective, CollectiveError } from "./collective.ts";

/** 32-bit words of a digest that are compared. */
const WORDS = 4;

/**
 * Compares texts of all ranks.
 *
 * @param texts What should be the same everywhere, by what it is called.
 * @returns What differs from rank 0's, and on which rank first; null where nothing does.
 */
export async function differenceBetween(
  ranks: Collective,
  texts: Readonly<Record<string, string | Uint8Array>>,
): Promise<{ readonly what: string; readonly rank: number } | null> {
  const names = Object.keys(texts);
  const length = names.length * WORDS;
  const words = new Int32Array(ranks.size * length);
  Object.values(texts).forEach((text, index) =>
    words.set(digestOf(text), ranks.rank * length + index * WORDS)
  );
  await ranks.allReduce(words, "sum"); // the others hold zeros where this one has its digests
  for (let rank = 1; rank < ranks.size; rank++) {
    const at = words.subarray(0, length).findIndex((word, i) => word !== words[rank * length + i]);
    if (at >= 0) return { what: names[Math.floor(at / WORDS)] as string, rank };
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
  const difference = await differenceBetween(ranks, { weights: hash.digest() });
  if (difference === null) return;
  throw new CollectiveError(
    `Ranks have drifted apart: after ${step} steps the weights of rank ${difference.rank} are not those of ` +
      `rank 0: expected the same bits, as all add the same gradients; use adapters and drivers of one kind, ` +
      `and resume from the last checkpoint`,
  );
}

function digestOf(text: string | Uint8Array): Int32Array {
  const { buffer, byteOffset } = new Uint8Array(createHash("sha256").update(text).digest());
  return new Int32Array(buffer, byteOffset, WORDS);
}
