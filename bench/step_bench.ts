// The whole training step of the built-in network: wall time, what of it is the host's, shares by
// kernel, and how it grows with batch, crop, classes and depth: `deno bench bench/step_bench.ts`.
//
// Batches are random numbers, uploaded once: data loading is measured by the training itself.

import { type Gpu, openGpu } from "../kernels/runtime/mod.ts";
import { BUILT_IN, builtInTrial, type Setting, TRIALS } from "./_trials.ts";

const ROUNDS = 7;

/** Medians of several steps, in milliseconds: until it was handed over, and until it was done. */
async function timeSteps(
  gpu: Gpu,
  trial: { step(): void },
): Promise<{ host: number; wall: number }> {
  const [host, wall]: number[][] = [[], []];
  for (let round = -2; round < ROUNDS; round++) {
    const started = performance.now();
    trial.step();
    const handed = performance.now();
    await gpu.finish();
    if (round < 0) continue; // the first compiles, the second still fills the pool
    host.push(handed - started);
    wall.push(performance.now() - started);
  }
  const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1];
  return { host: median(host), wall: median(wall) };
}

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => at === 0 ? cell.padEnd(40) : cell.padStart(14)).join("");
}

const gpu = await openGpu();
console.log(
  `\nThe training step of the built-in network on ${gpu.adapter.description}, medians of ${ROUNDS}`,
);
console.log(row(["stage", "ms", "host ms", "images/s"]));
for (const name of TRIALS) {
  using trial = builtInTrial(gpu, name, BUILT_IN);
  const { host, wall } = await timeSteps(gpu, trial);
  const images = BUILT_IN.batch * (name === "source" ? 1 : 2);
  console.log(row([name, wall.toFixed(0), host.toFixed(0), (1000 * images / wall).toFixed(1)]));
}

console.log(`\nHow a source-only step grows`);
console.log(row(["", "ms", "images/s"]));
const variations: [string, Partial<Setting>][] = [
  ...[1, 2, 4, 8].map((batch): [string, Partial<Setting>] => [`batch ${batch}`, { batch }]),
  ...[0.5, 1, 2].map((factor): [string, Partial<Setting>] => {
    const [height, width] = [BUILT_IN.height * factor, BUILT_IN.width * factor];
    return [`crop ${width}×${height}`, { height, width }];
  }),
  ...[8, 19].map((classes): [string, Partial<Setting>] => [`${classes} classes`, { classes }]),
  ...[[1, 1, 1, 1], [2, 2, 2, 2], [3, 4, 6, 3]].map((blocks): [string, Partial<Setting>] => [
    `blocks ${blocks.join(", ")}`,
    { blocks },
  ]),
];
for (const [name, change] of variations) {
  const setting = { ...BUILT_IN, ...change };
  using trial = builtInTrial(gpu, "source", setting);
  const { wall } = await timeSteps(gpu, trial);
  console.log(row([name, wall.toFixed(0), (1000 * setting.batch / wall).toFixed(1)]));
}
gpu.close();

// A pass a kernel costs time of its own: the shares hold, the sum does not.
const profiled = await openGpu({ profile: true });
for (const name of ["source", "stage1"] as const) {
  using trial = builtInTrial(profiled, name, BUILT_IN);
  await timeSteps(profiled, trial);
  await profiled.profiler?.report();
  for (let round = 0; round < ROUNDS; round++) trial.step();
  await profiled.finish();
  const kernels = await profiled.profiler?.report() ?? [];
  // The matrix products of this network are those of its convolutions.
  const convolutions = kernels.filter(({ label }) => /conv|winograd|matmul/.test(label));
  const share = convolutions.reduce((sum, kernel) => sum + kernel.share, 0);
  console.log(`\nKernels of a ${name} step; convolutions take ${(100 * share).toFixed(0)} %`);
  console.log(row(["kernel", "calls", "ms", "share"]));
  for (const { label, calls, milliseconds, share } of kernels.slice(0, 20)) {
    console.log(row([
      label,
      String(Math.round(calls / ROUNDS)),
      (milliseconds / ROUNDS).toFixed(2),
      `${(100 * share).toFixed(1)} %`,
    ]));
  }
}
profiled.close();
