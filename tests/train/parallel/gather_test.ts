// Words of all ranks, over ranks in one process.

import assert from "node:assert/strict";
import type { Collective, Reducible, Reduction } from "../../../train/parallel/collective.ts";
import { gatherTexts, largestOf, textOfFirst } from "../../../train/parallel/gather.ts";

type Ranks = Pick<Collective, "rank" | "size" | "allReduce" | "broadcast">;

/** Ranks that wait for each other, and refuse calls of different kinds or lengths. */
function ranksInMemory(size: number): Ranks[] {
  let waiting: { rank: number; what: string; data: Reducible | Uint8Array; done: () => void }[] =
    [];
  const meet = (rank: number, what: string, data: Reducible | Uint8Array) =>
    new Promise<void>((done) => {
      waiting.push({ rank, what: `${what} of ${data.length}`, data, done });
      if (waiting.length < size) return;
      const all = waiting.toSorted((a, b) => a.rank - b.rank);
      waiting = [];
      assert.equal(new Set(all.map(({ what }) => what)).size, 1, "all call the same");
      const values = all.map(({ data }) => [...data]);
      const result = values[0].map((_, at) => {
        const column = values.map((row) => row[at]);
        if (what === "broadcast") return column[0];
        return what === "max" ? Math.max(...column) : column.reduce((a, b) => a + b);
      });
      for (const one of all) {
        one.data.set(result);
        one.done();
      }
    });
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    allReduce: (data: Reducible, reduction: Reduction) => meet(rank, reduction, data),
    broadcast: (data: Uint8Array, root: number) => {
      assert.equal(root, 0);
      return meet(rank, "broadcast", data);
    },
  }));
}

Deno.test("each rank hears the texts of all, in their order, whatever their lengths", async () => {
  const texts = ["größer", "", "node 7 ✓", "x".repeat(1000)];
  const heard = await Promise.all(
    ranksInMemory(4).map((ranks) => gatherTexts(ranks, texts[ranks.rank])),
  );
  for (const all of heard) assert.deepEqual(all, texts);
});

Deno.test("what the first rank says is heard by all, and what others would say is not", async () => {
  const heard = await Promise.all(
    ranksInMemory(3).map((ranks) => textOfFirst(ranks, ["wörtlich", "no", "never"][ranks.rank])),
  );
  assert.deepEqual(heard, ["wörtlich", "wörtlich", "wörtlich"]);
});

Deno.test("the largest number of all ranks is known to each", async () => {
  const heard = await Promise.all(
    ranksInMemory(3).map((ranks) => largestOf(ranks, [0, 143, 2][ranks.rank])),
  );
  assert.deepEqual(heard, [143, 143, 143]);
});
