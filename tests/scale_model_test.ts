// What `bench:scale` says of many GPUs follows from what it has measured, by arithmetic that is checked by
// hand here.

import assert from "node:assert/strict";
import { gigabits, limitOfStaging, modelStep } from "../bench/scale/model.ts";

const MEGABYTE = 1e6;
/** A step of 300 ms, 12 buckets of gradients, a hundred small sums of nothing. */
const work = { compute: 300, gradientBytes: 12 * 8 * 2 ** 20, smallSums: 100, smallBytes: 0 };
const host = { staged: 4 * MEGABYTE, smallSum: 0.1, halved: 1 * MEGABYTE };
const network = { rate: 1 * MEGABYTE, latency: 0.01 };
/** Gradients in megabytes: at a megabyte a millisecond, what they take to be sent once. */
const gradients = work.gradientBytes / MEGABYTE;
const small = (rounds: number) => 100 * (0.1 + 2 * rounds * 0.01);

const near = (found: number, expected: number) =>
  assert.ok(Math.abs(found / expected - 1) < 1e-12, `${found}, not ${expected}`);

Deno.test("rates are of bytes, eight bits each, in a millisecond", () => {
  assert.equal(gigabits(8), MEGABYTE);
});

Deno.test("one GPU has nobody to wait for", () => {
  const step = modelStep(work, host, network, { ranks: 1, overlap: "after" });
  assert.deepEqual(step, { step: 300, reduction: 0 });
});

Deno.test("two GPUs send all gradients once, four one and a half times, each after a transfer", () => {
  for (const [ranks, rounds, times] of [[2, 1, 1], [4, 2, 1.5]] as const) {
    const { step, reduction } = modelStep(work, host, network, { ranks, overlap: "after" });
    near(reduction, gradients / 4 + 12 * 2 * rounds * 0.01 + times * gradients + small(rounds));
    near(step, 300 + reduction);
  }
});

Deno.test("small sums take their bytes, and a wait each", () => {
  const of = (smallBytes: number) =>
    modelStep({ ...work, smallBytes }, host, network, { ranks: 4, overlap: "after" }).reduction;
  near(of(2 * MEGABYTE), of(0) + 3);
});

Deno.test("in buckets only the first transfer is not hidden, or the last reduction", () => {
  const of = (rate: number) =>
    modelStep(work, host, { rate, latency: 0 }, { ranks: 2, overlap: "buckets" }).reduction -
    small(0);
  near(of(MEGABYTE), gradients + gradients / 4 / 12);
  near(of(100 * MEGABYTE), gradients / 4 + gradients / 100 / 12);
});

Deno.test("during the backward two thirds of the computing hide all but a bucket", () => {
  const of = (compute: number) => {
    const step = { ...work, compute };
    return modelStep(step, host, { ...network, latency: 0 }, { ranks: 2, overlap: "backward" })
      .reduction - small(0);
  };
  const inBuckets = gradients + gradients / 4 / 12;
  near(of(300), inBuckets / 12);
  near(of(30), inBuckets - 20);
});

Deno.test("halves are half of what is sent, and take the time of making them where that is longer", () => {
  const of = (rate: number) =>
    modelStep(work, host, { rate, latency: 0 }, { ranks: 2, overlap: "after", halves: true })
      .reduction - small(0);
  near(of(MEGABYTE / 10), gradients / 4 + 5 * gradients);
  near(of(MEGABYTE), gradients / 4 + gradients);
  const latencies = modelStep(work, host, { rate: Infinity, latency: 1 }, {
    ...{ ranks: 8, overlap: "after", halves: true },
  });
  // 96 pieces of 2^18 numbers, from each GPU to seven others and back in three rounds.
  near(latencies.reduction, gradients / 4 + 96 * 10 + 100 * (0.1 + 6));
});

Deno.test("a network is too fast where gradients take longer to the host and back", () => {
  const rate = limitOfStaging(host, 8);
  const sent = 2 * 7 / 8 * work.gradientBytes / rate;
  near(sent, work.gradientBytes / host.staged);
});
