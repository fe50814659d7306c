// What ranks tell each other in words.

import type { Collective } from "./collective.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A text of each rank, in their order, for all of them. */
export async function gatherTexts(
  ranks: Pick<Collective, "rank" | "size" | "allReduce">,
  text: string,
): Promise<string[]> {
  const bytes = encoder.encode(text);
  const lengths = new Int32Array(ranks.size);
  lengths[ranks.rank] = bytes.length;
  await ranks.allReduce(lengths, "sum"); // the others hold zeros in a rank's place
  const starts = [...lengths].map((_, rank) => lengths.slice(0, rank).reduce((a, b) => a + b, 0));
  const all = new Int32Array(lengths.reduce((a, b) => a + b, 0));
  all.set(bytes, starts[ranks.rank]);
  await ranks.allReduce(all, "sum");
  return starts.map((start, rank) =>
    decoder.decode(Uint8Array.from(all.subarray(start, start + lengths[rank])))
  );
}

/** The text of rank 0, for all of them. @param text Read on rank 0 alone. */
export async function textOfFirst(
  ranks: Pick<Collective, "rank" | "broadcast">,
  text: string,
): Promise<string> {
  const own = ranks.rank === 0 ? encoder.encode(text) : new Uint8Array();
  const length = Uint32Array.of(own.length);
  await ranks.broadcast(new Uint8Array(length.buffer), 0);
  const bytes = ranks.rank === 0 ? own : new Uint8Array(length[0]);
  await ranks.broadcast(bytes, 0);
  return decoder.decode(bytes);
}

/** The largest of a whole number of each rank. */
export async function largestOf(
  ranks: Pick<Collective, "allReduce">,
  value: number,
): Promise<number> {
  const values = Int32Array.of(value);
  await ranks.allReduce(values, "max");
  return values[0];
}
