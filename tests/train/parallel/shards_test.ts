// Ranks within a process: what they reduce, in which order, and what does not go.

import assert from "node:assert/strict";
import { type Collective, CollectiveError } from "../../../train/parallel/collective.ts";
import { shardsOf } from "../../../train/parallel/shards.ts";
import { Solo } from "../../../train/parallel/solo.ts";

/** Four ranks: all in one process, or two in each of two. */
const JOBS: Readonly<Record<string, () => Collective[]>> = {
  "one process": () => shardsOf(new Solo(), 4),
  "two processes": () => shardsOf(new Solo(), 2).flatMap((process) => shardsOf(process, 2)),
};

for (const [where, job] of Object.entries(JOBS)) {
  Deno.test(`four shards in ${where} reduce numbers of all types, and hand on bytes`, async () => {
    const ranks = job();
    assert.deepEqual(ranks.map(({ rank, size }) => [rank, size]), [[0, 4], [1, 4], [2, 4], [3, 4]]);
    // In another order this sum is another number: (1e8 + 1) - 1e8 is 0 in 32 bits.
    const terms = [1e8, -1e8, 1, 0.5];
    const found = await Promise.all(ranks.map(async (own) => {
      const sum = Float32Array.of(terms[own.rank]!, -0, own.rank);
      const most = Float64Array.of(own.rank, 1 / 3);
      const least = Int32Array.of(5 - own.rank);
      const bytes = new Uint8Array([own.rank, 9]);
      await own.allReduce(sum, "sum");
      await own.allReduce(most, "max");
      await own.allReduce(least, "min");
      await own.broadcast(bytes, 2);
      await own.barrier();
      return { sum: [...sum], most: [...most], least: [...least], bytes: [...bytes] };
    }));
    for (const one of found) {
      assert.deepEqual(one, {
        sum: [1.5, -0, 6],
        most: [3, 1 / 3],
        least: [2],
        bytes: [2, 9],
      });
    }
  });

  Deno.test(`arrays of shards in ${where} that are longer than what is exchanged at once`, async () => {
    const length = 2 ** 18 + 3;
    await Promise.all(
      job().map(async (own) => {
        const numbers = Float32Array.from({ length }, (_, at) => (own.rank + 1) * (at % 11));
        await own.allReduce(numbers, "sum");
        assert.ok(numbers.every((number, at) => number === 10 * (at % 11)));
      }),
    );
  });
}

Deno.test("a call that fails, fails on all shards", async () => {
  class Broken extends Solo {
    override barrier(): Promise<void> {
      return Promise.reject(new CollectiveError("the network is down"));
    }
  }
  const ranks = shardsOf(new Broken(), 2);
  const ends = await Promise.allSettled(ranks.map((own) => own.barrier()));
  assert.deepEqual(ends.map(({ status }) => status), ["rejected", "rejected"]);
});

Deno.test("a shard makes one call at a time", () => {
  const [one] = shardsOf(new Solo(), 2);
  one!.barrier();
  assert.throws(() => one!.barrier(), CollectiveError);
});
