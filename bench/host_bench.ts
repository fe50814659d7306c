// What a training step costs the host: `deno run -A bench/host_bench.ts [stage …]` prints, for each
// stage's step, what it records and the processor time of recording and of submitting it.
//
// Where the GPU is fast, the host must be faster. On an adapter that computes nothing, or one that
// is never waited for, all time is the host's.

import process from "node:process";
import { openGpu } from "../kernels/runtime/mod.ts";
import { BUILT_IN, type TrialName, trialOf, TRIALS } from "./_trials.ts";

/** Rounds that count; the least of them is the host's, the rest is the machine's. */
const ROUNDS = 9;
const STEPS = 10;

const names = TRIALS.filter((name) => Deno.args.length === 0 || Deno.args.includes(name));
const gpu = await openGpu();
console.log(`The host's work for a step of the built-in network on ${gpu.adapter.description}`);
for (const name of names) {
  using trial = trialOf(gpu, name, BUILT_IN);
  for (let i = 0; i < 15; i++) {
    trial.step();
    gpu.flush();
  }
  await gpu.finish();
  const rec: number[] = [], sub: number[] = [], cpu: number[] = [];
  const d0 = gpu.queue.dispatches;
  for (let r = 0; r < ROUNDS; r++) {
    const c = process.cpuUsage();
    for (let i = 0; i < STEPS; i++) {
      const a = performance.now();
      trial.step();
      const b = performance.now();
      gpu.flush();
      const e = performance.now();
      rec.push(b - a);
      sub.push(e - b);
    }
    const u = process.cpuUsage(c);
    cpu.push((u.user + u.system) / 1000 / STEPS);
    await gpu.finish();
  }
  const d = (gpu.queue.dispatches - d0) / ROUNDS / STEPS;
  const q = (x: number[], p: number) => x.toSorted((a, b) => a - b)[Math.floor(x.length * p)]!;
  console.log(
    name,
    "dispatches",
    d,
    "record min/med",
    q(rec, 0).toFixed(2),
    q(rec, .5).toFixed(2),
    "submit",
    q(sub, 0).toFixed(2),
    q(sub, .5).toFixed(2),
    "cpu min",
    q(cpu, 0).toFixed(2),
    "us/dispatch min",
    (1000 * (q(rec, 0) + q(sub, 0)) / d).toFixed(2),
    "med",
    (1000 * (q(rec, .5) + q(sub, .5)) / d).toFixed(2),
  );
}
gpu.close();
