// What one rank does for all: only rank 0 writes to the run folder.

import { type Collective, CollectiveError } from "./collective.ts";

/**
 * Has rank 0 do something while the others wait, who then do what `follow` says; the same thing, unless
 * given.
 *
 * @throws What rank 0 has failed with, on rank 0.
 * @throws {CollectiveError} On the others, where rank 0 has failed.
 */
export async function leaderFirst<T>(
  ranks: Collective,
  lead: () => T | Promise<T>,
  follow: () => T | Promise<T> = lead,
): Promise<T> {
  if (ranks.size === 1) return await lead();
  const failed = new Uint8Array(1);
  if (ranks.rank > 0) {
    await ranks.broadcast(failed, 0);
    if (failed[0] !== 0) throw new CollectiveError("Rank 0 has failed, and says why");
    return await follow();
  }
  try {
    return await lead();
  } catch (error) {
    failed[0] = 1;
    throw error;
  } finally {
    await ranks.broadcast(failed, 0);
  }
}

/** Has rank 0 do something while the others wait. See {@link leaderFirst}. */
export async function leaderAlone(
  ranks: Collective,
  lead: () => void | Promise<void>,
): Promise<void> {
  await leaderFirst(ranks, lead, () => {});
}
