// Sums that travel as 16-bit floats, between ranks in memory, against sums of doubles.

import assert from "node:assert/strict";
import { type HalfExchange, HalfSums } from "../../../train/parallel/halves.ts";
import { seededRandom } from "../../_check.ts";
import { assertSame } from "../../_same.ts";

/** Exchanges between ranks of this process. */
function exchanges(size: number): HalfExchange[] {
  /** Calls `meet` with what all ranks have given, once all have. */
  const together = <T>(meet: (all: T[]) => void) => {
    let given: T[] = [];
    let waiting: (() => void)[] = [];
    return (rank: number, mine: T) =>
      new Promise<void>((resolve) => {
        given[rank] = mine;
        waiting.push(resolve);
        if (waiting.length < size) return;
        const [all, done] = [given, waiting];
        [given, waiting] = [[], []];
        meet(all);
        for (const resolve of done) resolve();
      });
  };
  const greatest = together<{ value: number }>((all) => {
    const most = Math.max(...all.map(({ value }) => value));
    for (const one of all) one.value = most;
  });
  const exchange = together<[Float16Array, Float16Array]>((all) =>
    all.forEach(([, received], to) => {
      const length = received.length / size;
      all.forEach(([sent], from) =>
        received.set(sent.subarray(to * length, (to + 1) * length), from * length)
      );
    })
  );
  const gather = together<[Float16Array, Float16Array]>((all) => {
    for (const [, whole] of all) {
      all.forEach(([part], rank) => whole.set(part, rank * part.length));
    }
  });
  return Array.from({ length: size }, (_, rank) => ({
    size,
    greatest: async (value) => {
      const mine = { value };
      await greatest(rank, mine);
      return mine.value;
    },
    exchange: (...arrays) => exchange(rank, arrays),
    gather: (...arrays) => gather(rank, arrays),
  }));
}

/** What all ranks have after a sum of `data`, an array of each: the same bits. */
async function sumOf(ranks: readonly HalfSums[], data: readonly number[][]): Promise<number[]> {
  const arrays = data.map((numbers) => Float32Array.from(numbers));
  await Promise.all(ranks.map((rank, at) => rank.sum(arrays[at]!)));
  for (const other of arrays) assertSame(other, arrays[0]);
  return [...arrays[0]!];
}

const ranksOf = (size: number) => exchanges(size).map((ranks) => new HalfSums(ranks));

for (const size of [1, 2, 3, 8]) {
  Deno.test(`sums of ${size} ranks are as exact as halves are, whatever the size of numbers`, async () => {
    const random = seededRandom(size);
    const ranks = ranksOf(size);
    for (const [length, exponent] of [[1000, 0], [7, 100], [1, -120], [513, -20]] as const) {
      const data = Array.from(
        { length: size },
        () =>
          Array.from(
            { length },
            () => Math.fround((2 * random() - 1) * 2 ** (exponent - 12 * random())),
          ),
      );
      const found = await sumOf(ranks, data);
      const most = Math.max(...data.flat().map(Math.abs));
      found.forEach((value, at) => {
        const terms = data.map((numbers) => numbers[at]!);
        const expected = terms.reduce((sum, term) => sum + term, 0);
        const amount = terms.reduce((sum, term) => sum + Math.abs(term), 0);
        // Each term and the sum are rounded once, to eleven bits or to the least half.
        const bound = 2 ** -11 * (amount + Math.abs(expected)) * (1 + 2 ** -10) +
          (size + 1) * size * most * 2 ** -37;
        const error = Math.abs(value - expected);
        assert.ok(error <= bound, `${length}, ${at}: ${value}, not ${expected} by ${bound}`);
      });
    }
  });
}

Deno.test("small whole numbers are added up exactly", async () => {
  const found = await sumOf(ranksOf(2), [[1, -200, 1000, 0, 7], [2, 200, 24, 0, -8]]);
  assert.deepEqual(found, [3, 0, 1024, 0, -1]);
});

Deno.test("infinities and NaN come through, and do not touch other numbers", async () => {
  const found = await sumOf(ranksOf(3), [
    [NaN, Infinity, -Infinity, Infinity, 1, 0],
    [1, 1, 2, -Infinity, 2, 0],
    [2, 3, 4, 5, -8, 0],
  ]);
  assert.deepEqual(found, [NaN, Infinity, -Infinity, NaN, -5, 0]);
});

Deno.test("the largest and the smallest 32-bit floats, and zeros alone, have a scale", async () => {
  const ranks = ranksOf(2);
  const largest = Math.fround(3.4e38);
  assert.deepEqual(await sumOf(ranks, [[largest, largest], [largest, -largest]]), [Infinity, 0]);
  assert.deepEqual(await sumOf(ranks, [[2 ** -149, 0], [2 ** -149, 2 ** -148]]), [
    2 ** -148,
    2 ** -148,
  ]);
  assert.deepEqual(await sumOf(ranks, [[0, 0, 0], [0, 0, 0]]), [0, 0, 0]);
});

Deno.test("terms are added up in the order of ranks", async () => {
  const [found] = await sumOf(ranksOf(4), [[2 ** 24], [1], [1], [-(2 ** 24)]]);
  assert.equal(found, 0); // 2^24 + 1 = 2^24 in 32 bits; the other way round it would be 2
});
