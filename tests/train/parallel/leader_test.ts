// What rank 0 does for all, and whether all have the same.

import assert from "node:assert/strict";
import { checkSameWeights, differenceBetween } from "../../../train/parallel/agreement.ts";
import { CollectiveError } from "../../../train/parallel/collective.ts";
import { leaderAlone, leaderFirst } from "../../../train/parallel/leader.ts";
import { shardsOf } from "../../../train/parallel/shards.ts";
import { Solo } from "../../../train/parallel/solo.ts";

Deno.test("rank 0 goes first, and the others follow when it is done", async () => {
  const said: string[] = [];
  const found = await Promise.all(
    shardsOf(new Solo(), 3).map((own) =>
      leaderFirst(own, async () => {
        await new Promise((resolve) => setTimeout(resolve, own.rank === 0 ? 20 : 0));
        said.push(`rank ${own.rank}`);
        return 10 * own.rank;
      })
    ),
  );
  assert.equal(said[0], "rank 0");
  assert.deepEqual(found, [0, 10, 20]);
  await Promise.all(
    shardsOf(new Solo(), 3).map((own) =>
      leaderAlone(own, () => void said.push(`alone ${own.rank}`))
    ),
  );
  assert.deepEqual(said.slice(3), ["alone 0"]);
});

Deno.test("where rank 0 fails, the others fail and have done nothing", async () => {
  const done: number[] = [];
  const ends = await Promise.allSettled(
    shardsOf(new Solo(), 2).map((own) =>
      leaderFirst(own, () => {
        if (own.rank === 0) throw new Error("the disk is full");
        done.push(own.rank);
      })
    ),
  );
  const reasons = ends.map((end) => (end as PromiseRejectedResult).reason);
  assert.equal(reasons[0].message, "the disk is full");
  assert.ok(reasons[1] instanceof CollectiveError);
  assert.deepEqual(done, []);
});

Deno.test("the first rank that differs is named, and in what", async () => {
  const compare = (texts: (rank: number) => Record<string, string>) =>
    Promise.all(
      shardsOf(new Solo(), 3).map((own) => differenceBetween(own, texts(own.rank))),
    );
  const same = await compare(() => ({ one: "a", two: "b" }));
  assert.deepEqual(same, [null, null, null]);
  const different = await compare((rank) => ({ one: "a", two: rank === 2 ? "c" : "b" }));
  assert.deepEqual(different, Array(3).fill({ what: "two", rank: 2 }));
});

Deno.test("weights that differ in one bit have drifted apart", async () => {
  const check = (value: (rank: number) => number) =>
    Promise.allSettled(
      shardsOf(new Solo(), 2).map((own) =>
        checkSameWeights(own, [Float32Array.of(1, 2), Float32Array.of(value(own.rank))], 100)
      ),
    );
  assert.deepEqual(
    (await check(() => 0.1)).map(({ status }) => status),
    Array(2).fill("fulfilled"),
  );
  for (const end of await check((rank) => rank === 1 ? -0 : 0)) {
    assert.ok(end.status === "rejected");
    assert.match(
      end.reason.message,
      /^Ranks have drifted apart: after 100 steps the weights of rank 1 are not those of rank 0: expected/,
    );
  }
});
