// One rank of a job: reduces numbers, trains on its part of every batch, and prints what it has seen.

import { openGpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import { STREETS_CLASSES } from "../../train/data/class_set.ts";
import { SamplesInMemory } from "../../train/data/samples.ts";
import { Mpi } from "../../train/parallel/mpi.ts";
import { byParts } from "../../train/stages/common/accumulate.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import { Batches } from "../../train/stages/common/batches.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { SourceOnly } from "../../train/stages/source_only/source_only.ts";
import { streetItem } from "../../train/streets/item.ts";

const [library, what] = Deno.args;
const SIZE = { width: 64, height: 32 };
const STEPS = 5;

const began = performance.now();
const mpi = new Mpi({ library, timeout: 4000, onTimeout: (reason) => console.log(reason) });
const { rank, size, localRank, engine } = mpi;
if (what === "hang") {
  if (rank === 1) await new Promise((resolve) => setTimeout(resolve, 60_000));
  await mpi.barrier();
}

// More than one bucket of no multiple of ranks, with what halves must not lose.
const halves = Float32Array.from({ length: 5_000_001 }, (_, at) => rank + at % 7);
halves.set([NaN, rank === 0 ? Infinity : 1, rank === 0 ? 3e-7 : 5e-7], 4_999_998);
await mpi.sumInHalves(halves);
// More than one bucket, so that borders of buckets are crossed.
const long = Float32Array.from({ length: 5_000_000 }, (_, at) => rank + at % 7);
await mpi.allReduce(long, "sum");
const most = Float64Array.of(rank, 1 / 3);
await mpi.allReduce(most, "max");
const least = Int32Array.of(rank + 5, -rank);
await mpi.allReduce(least, "min");
const bytes = new Uint8Array([rank, 7, rank]);
await mpi.broadcast(bytes, size - 1);
await mpi.barrier();
const reduced = {
  long: [long[0], long[2_500_000], long[4_999_999]],
  most: [...most],
  least: [...least],
  halves: [halves[0], halves[2_500_000], ...halves.subarray(-3)].map(String),
  bytes: [...bytes],
};

const gpu = await openGpu({
  peers: {
    ...{ rank, size, sum: (data) => mpi.allReduce(data, "sum") },
    ...what === "halves" ? { sumGradients: (data) => mpi.sumInHalves(data) } : {},
  },
});
using network = new DeepLab(gpu, {
  blocks: [1, 1, 1, 1],
  width: 4,
  headChannels: 8,
  groups: 4,
  dilations: [1, 2],
  classes: STREETS_CLASSES.names.length,
  dropout: 0.1,
  seed: 1,
});
using stage = new SourceOnly(network, {
  ...{ learningRate: 1e-3, headFactor: 1, momentum: 0.9, weightDecay: 2e-4 },
  ...{ power: 0.9, scheduleSteps: 100, rampSteps: 0, seed: 0 },
});
const streets = Array.from(
  { length: 6 },
  (_, index) => streetItem({ ...SIZE, seed: 0, domain: "source", split: "train", index }),
);
const stream = () => new SamplesInMemory(streets, { seed: 0, stream: "source" });
const view = {
  crop: { width: 48, height: 24 },
  longSide: 64,
  scales: [0.8, 1.2],
  flip: 0.5,
} as const;
const batches = new Batches({ gpu, seed: 0, stage: "source", batch: 4, view }, stream(), stream());
const losses: number[] = [];
for (let step = 0; step < STEPS; step++) {
  const source = await batches.nextSource();
  let found: Losses = {};
  byParts({ source }, size, (part, index) => {
    if (index === rank) found = stage.step(part, step);
  });
  releaseBatch(source);
  const share = await (found.source?.read() ?? Promise.reject(new Error("no step")));
  releaseBatch(found);
  await mpi.allReduce(share as Float32Array, "sum");
  losses.push(share[0] ?? NaN);
}
const [first] = network.namedParameters().values();
const weights = [...(await first.array.read()).subarray(-20)]; // launchers tear long lines
const { hostTimes } = gpu;
const { times } = mpi;
console.log(JSON.stringify({
  ...{ rank, size, localRank, engine, reduced, losses, weights },
  ...{ took: performance.now() - began, hostTimes, times },
}));
gpu.close();
mpi.close();
