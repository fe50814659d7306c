// What a step costs the host, apart from the GPU: `deno run -A bench/host_bench.ts [stage …]` prints
// what each stage's step records, and the time of recording it and of handing it over.
//
// The times are the least of many steps, as the machine may be busy with other things. Where a
// submission waits for the one before, as on software adapters, handing over holds that wait.

import { openGpu } from "../kernels/runtime/mod.ts";
import { BUILT_IN, builtInTrial, TRIALS } from "./_trials.ts";

/** Steps before those that count: they compile, and the host's code becomes fast as it is used. */
const WARM_UP = 30;
const STEPS = 100;
/** Steps that may be under way, as in a training. */
const UNDER_WAY = 10;

function row(cells: readonly (string | number)[]): string {
  return cells.map((cell, at) => at === 0 ? String(cell).padEnd(10) : String(cell).padStart(14))
    .join("");
}

const names = TRIALS.filter((name) => Deno.args.length === 0 || Deno.args.includes(name));
const gpu = await openGpu();
const { queue } = gpu;
console.log(`A step of the built-in network on ${gpu.adapter.description}, for the host`);
console.log(
  row(["stage", "dispatches", "copies", "submissions", "record µs", "submit µs", "both ms"]),
);
for (const name of names) {
  using trial = builtInTrial(gpu, name, BUILT_IN);
  let [record, submit] = [Infinity, Infinity];
  let [dispatches, copies, submissions] = [0, 0, 0];
  for (let step = 0; step < WARM_UP + STEPS; step++) {
    const before = [queue.dispatches, queue.copies, queue.serial] as const;
    const started = performance.now();
    trial.step();
    const recorded = performance.now();
    gpu.flush();
    const submitted = performance.now();
    if (step % UNDER_WAY === 0) await gpu.finish();
    if (step < WARM_UP) continue;
    record = Math.min(record, recorded - started);
    submit = Math.min(submit, submitted - recorded);
    [dispatches, copies, submissions] = [
      queue.dispatches - before[0],
      queue.copies - before[1],
      queue.serial - before[2],
    ];
  }
  const each = (milliseconds: number) => (1000 * milliseconds / dispatches).toFixed(2);
  const both = (record + submit).toFixed(2);
  console.log(row([name, dispatches, copies, submissions, each(record), each(submit), both]));
}
gpu.close();
