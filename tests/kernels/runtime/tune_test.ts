// Which problems are timed, in which order, for how long, on which arrays.

import assert from "node:assert/strict";
import { fill, scaleForward } from "../../../kernels/elementwise.ts";
import { matmul } from "../../../kernels/dense/matmul.ts";
import { shortlist } from "../../../kernels/runtime/choices.ts";
import {
  type Gpu,
  type GpuArray,
  GpuError,
  openGpu,
  planningGpu,
  tune,
} from "../../../kernels/runtime/mod.ts";
import { pretend } from "../../_adapter.ts";

/** A problem whose candidates fill an array as often as they are called. */
interface Fills {
  readonly key: string;
  readonly candidates: readonly string[];
  readonly expected: string;
  readonly length: number;
  readonly cost?: (name: string) => number;
}

/** Asks for a choice; `ran` hears of what runs on the device itself. */
function ask(gpu: Gpu, { key, candidates, expected, length, cost }: Fills, ran: (
  name: string,
  array: GpuArray,
) => void = () => {}): string {
  using array = gpu.empty([length], "problem");
  return gpu.choices.choose({
    key,
    candidates: new Map(candidates.map((name) => [name, name])),
    expected,
    arrays: [array],
    run: (name, [array]) => {
      if (array.gpu === gpu) ran(name, array);
      for (let time = Number(name); time > 0; time--) fill(array, time);
    },
    ...cost ? { cost } : {},
  });
}

const open = (memoryBudget?: number) => openGpu({ autotune: true, memoryBudget });
const ONE = { candidates: ["1", "2"], expected: "1", length: 1000 };

Deno.test("the fastest candidate is chosen, and taken from then on", async () => {
  using gpu = await open();
  const problem = { key: "fill", candidates: ["60", "1", "30"], expected: "60", length: 2 ** 16 };
  assert.equal(ask(gpu, problem), "60");
  const { chosen, skipped, left, milliseconds } = await tune(gpu);
  assert.deepEqual([chosen, skipped, left], [1, 0, 0]);
  assert.ok(milliseconds > 0);
  assert.equal(ask(gpu, problem), "1");
});

Deno.test("candidates worth timing: the expected one, and at most two others of less than twice the best cost", () => {
  const names = ["a", "b", "c", "d", "e"];
  const costs: Record<string, number> = { a: 9, b: 3, c: 4, d: 5, e: 6.1 };
  const cost = (name: string) => costs[name]!;
  assert.deepEqual(shortlist(names, "b", cost), ["b", "c", "d"]);
  assert.deepEqual(shortlist(names, "a", cost), ["a", "b", "c"]);
  assert.deepEqual(shortlist(["b", "d", "e"], "b", cost), ["b", "d"]);
  assert.deepEqual(shortlist(["a", "b"], "b", cost), ["b"]);
  assert.deepEqual(shortlist(names, "b", undefined), names);
});

Deno.test("only candidates worth timing are run, and none where there is one", async () => {
  using gpu = await open();
  const ran = new Set<string>();
  const candidates = ["1", "2", "3", "4", "5"];
  ask(gpu, { ...ONE, key: "few", candidates, cost: Number }, (name) => ran.add(name));
  ask(gpu, { ...ONE, key: "one", cost: (name) => 3 ** Number(name) }, () => assert.fail());
  const { chosen } = await tune(gpu);
  assert.deepEqual([...ran], ["1", "2"]);
  assert.equal(chosen, 1);
  assert.equal(gpu.choices.table.one, "1");
});

Deno.test("the problems with the most work come first, and those after the time keep their expected way", async () => {
  using gpu = await open();
  const order: string[] = [];
  let clock = 0;
  const note = (key: string) => () => {
    if (order.at(-1) === key) return;
    order.push(key);
    clock += 10;
  };
  for (
    const { key, length, times } of [
      { key: "small", length: 1000, times: 1 },
      { key: "often", length: 1000, times: 5 },
      { key: "large", length: 9000, times: 1 },
      { key: "middle", length: 3000, times: 1 },
    ]
  ) {
    for (let time = 0; time < times; time++) ask(gpu, { ...ONE, key, length }, note(key));
  }
  const heard: [number, number][] = [];
  const tuning = await tune(gpu, {
    mostMilliseconds: 15,
    now: () => clock,
    onProgress: (done, problems) => heard.push([done, problems]),
  });
  assert.deepEqual(order, ["large", "often"], "begun at 0 and 10 of 15 milliseconds");
  assert.deepEqual(tuning, { chosen: 2, skipped: 0, left: 2, milliseconds: 20 });
  assert.deepEqual(heard, [[0, 4], [1, 4], [2, 4], [3, 4], [4, 4]]);
  assert.deepEqual(Object.keys(gpu.choices.table), ["large", "often"]);
  assert.equal(ask(gpu, { ...ONE, key: "middle" }), "1");
});

Deno.test("tuning ends with what is chosen by then where it is aborted", async () => {
  using gpu = await open();
  const abort = new AbortController();
  for (const key of ["first", "second"]) ask(gpu, { ...ONE, key }, () => abort.abort());
  const { chosen, left } = await tune(gpu, { signal: abort.signal });
  assert.deepEqual([chosen, left], [1, 1]);
});

Deno.test("a problem that does not fit the memory budget is passed over, the others are timed", async () => {
  const budget = 3 * 2 ** 20;
  using gpu = await open(budget);
  using kept = gpu.zeros([2 ** 17], "of the run");
  const fits = { ...ONE, key: "fits" };
  ask(gpu, fits);
  gpu.choices.choose({
    key: "does not",
    candidates: new Map([["small", 0], ["large", 2 ** 19]]),
    expected: "small",
    arrays: [kept],
    run: (length, [array]) => {
      if (array.gpu === gpu) assert.fail("it is run");
      array.gpu.empty([length + 1], "parts").release();
    },
  });
  const { live } = gpu.memory;
  const { chosen, skipped } = await tune(gpu);
  assert.deepEqual([chosen, skipped], [1, 1]);
  assert.deepEqual(Object.keys(gpu.choices.table), ["fits"]);
  assert.equal(gpu.memory.live, live);
});

Deno.test("the arrays of one problem are given back before those of the next take memory", async () => {
  const megabytes = [270, 100];
  using gpu = await open();
  using plan = planningGpu({ limits: gpu.device.limits }); // whose arrays take nothing
  for (const size of megabytes) {
    gpu.choices.choose({
      key: `${size} MB`,
      candidates: new Map([["one", 1], ["two", 2]]),
      expected: "one",
      arrays: [plan.empty([size * 2 ** 18], "large")],
      run: (times, [array]) => {
        using start = array.slice(0, 1000);
        for (let time = 0; time < times; time++) fill(start, time);
      },
    });
  }
  assert.equal((await tune(gpu)).chosen, megabytes.length);
  assert.ok(gpu.memory.peakTaken < 300 * 2 ** 20, `${gpu.memory.peakTaken} bytes`);
});

Deno.test("candidates are timed on random numbers from end to end", async () => {
  using gpu = await open();
  const seen: GpuArray[] = [];
  const length = 2 ** 18 + 1000;
  ask(gpu, { ...ONE, key: "fill", length }, (_, array) => seen.push(scaleForward(array, 1)));
  await tune(gpu);
  const numbers = await seen[0]!.read();
  const parts = [numbers.slice(0, 1000), numbers.slice(-1000)];
  for (const part of parts) {
    assert.ok(new Set(part).size > 900);
    assert.ok(part.every((value) => value >= -1 && value < 1));
  }
  for (const array of seen) array.release();
});

Deno.test("what is derived from an array, such as packed weights, is made in every run that is timed", async () => {
  using gpu = await open();
  using x = gpu.empty([1000], "x");
  let [runs, made] = [0, 0];
  gpu.choices.choose({
    key: "packs",
    candidates: new Map([["one", 1], ["two", 2]]),
    expected: "one",
    arrays: [x],
    run: (times, [array]) => {
      if (array.gpu === gpu) runs++;
      for (let time = 0; time < times; time++) {
        array.derived("packed", () => {
          if (array.gpu === gpu) made++;
          return scaleForward(array, 1);
        }).release();
      }
    },
  });
  await tune(gpu);
  assert.ok(runs > 4);
  assert.equal(made, runs);
});

Deno.test("a plan notes problems for the device that it is made for", async () => {
  using gpu = await open();
  const { adapter, device: { limits }, kernelClass: kernels, choices } = gpu;
  using plan = planningGpu({ adapter, limits, kernels: "shared", choices });
  matmul(plan.zeros([64, 64], "a"), plan.zeros([64, 64], "b"));
  assert.equal(kernels, adapter.isFallback ? "direct" : "shared");
  assert.ok((await tune(gpu)).chosen > 0);
  assert.match(Object.keys(choices.table).join(), /^matmul_shared /);
});

Deno.test("nothing is noted while that is off", async () => {
  using gpu = await open();
  gpu.choices.isNoting = false;
  ask(gpu, { ...ONE, key: "fill" });
  assert.deepEqual(gpu.choices.takeOpen(), []);
});

Deno.test("with `auto` a device is tuned on GPUs that can time, and never unless asked", async () => {
  const isTuned = async (autotune: boolean | "auto" | undefined) => {
    using gpu = await openGpu({ autotune });
    return gpu.choices.stopwatch !== undefined;
  };
  {
    using _gpu = pretend({ isFallback: false });
    assert.deepEqual([await isTuned("auto"), await isTuned(undefined)], [true, false]);
  }
  {
    using _software = pretend({ isFallback: true });
    assert.deepEqual([await isTuned("auto"), await isTuned(true)], [false, true]);
  }
  using _old = pretend({ isFallback: false, hasTimestamps: false });
  assert.equal(await isTuned("auto"), false);
  await assert.rejects(isTuned(true), (error: unknown) => {
    assert.ok(error instanceof GpuError);
    assert.match(error.message, /^Cannot autotune on .* as it has no timestamp queries: open it /);
    return true;
  });
});
