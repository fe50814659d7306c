// One rank of `bench:scale`: steps of a source-only training on its part of a batch of random numbers, and
// where their time goes, printed as JSON. Arguments: library of MPI, name of the network, steps of a
// round, rounds, `f32` or `f16` on the wire.

import { openGpu } from "../../kernels/runtime/mod.ts";
import { Mpi } from "../../train/parallel/mpi.ts";
import { trialOf } from "../_trials.ts";
import { type NetworkName, NETWORKS, type RankFound, type StepTimes } from "./networks.ts";

const [library, name, steps, rounds, wire] = Deno.args;
const { config, classes } = NETWORKS[name as NetworkName];
const mpi = new Mpi({ library, timeout: 300_000, onTimeout: (reason) => console.error(reason) });
const { rank, size } = mpi;
let [sums, bytes, gradientBytes] = [0, 0, 0];
const gpu = await openGpu({
  peers: {
    rank,
    size,
    sum: (data) => {
      sums++;
      bytes += data.byteLength;
      return mpi.allReduce(data, "sum");
    },
    sumGradients: (data) => {
      gradientBytes += data.byteLength;
      return wire === "f16" ? mpi.sumInHalves(data) : mpi.allReduce(data, "sum");
    },
  },
});
const own = structuredClone(config);
own.data.batch = config.data.batch / size;
using trial = trialOf(gpu, own, classes, "source");

/** Milliseconds of a step, on average over a round. */
async function timeRound(first: number, count: number): Promise<StepTimes> {
  await mpi.barrier();
  const before = { ...gpu.hostTimes, ...mpi.times };
  const started = performance.now();
  for (let step = 0; step < count; step++) {
    for (const loss of Object.values(trial.step(first + step))) loss.release();
  }
  await gpu.finish();
  const step = (performance.now() - started) / count;
  const each = (now: number, then: number) => (now - then) / count;
  const readBack = each(gpu.hostTimes.copy, before.copy);
  const reduce = each(mpi.times.reduce, before.reduce);
  const wait = each(mpi.times.wait, before.wait);
  return { step, compute: step - readBack - reduce - wait, readBack, reduce, wait };
}

await timeRound(0, 2); // compiles, fills the pool
[sums, bytes, gradientBytes] = [0, 0, 0];
const times: StepTimes[] = [];
for (let round = 0; round < Number(rounds); round++) {
  times.push(await timeRound(2 + round * Number(steps), Number(steps)));
}
const all = Number(steps) * Number(rounds);
const found: RankFound = {
  ...{ rank, size, engine: mpi.engine, adapter: gpu.adapter.description, times },
  ...{ sums: sums / all, sumBytes: bytes / all, gradientBytes: gradientBytes / all },
};
console.log(JSON.stringify(found));
await mpi.barrier();
gpu.close();
mpi.close();
