// Autotuning: times the candidates of what was run, and chooses.

import type { Gpu, GpuArray } from "./array.ts";
import type { OpenProblem } from "./choices.ts";
import type { Profiler } from "./profile.ts";

/** Runs of each candidate that count; one before them compiles. */
const ROUNDS = 3;
/** A candidate must be this much faster than the expected one: less is noise. */
const MARGIN = 0.95;

/**
 * Times every candidate of what was run since the device was opened with `autotune` and is not
 * chosen yet, on arrays of zeros, and adds the fastest to `gpu.choices`. Does nothing on other
 * devices.
 *
 * @returns How many choices were made.
 * @throws {GpuError} If the device is closed or lost, or has failed.
 */
export async function tune(gpu: Gpu): Promise<number> {
  gpu.check();
  const made = await tuneOpen(gpu);
  if (made > 0) gpu.choices.onTuned?.();
  return made;
}

async function tuneOpen(gpu: Gpu): Promise<number> {
  const { choices } = gpu;
  if (!choices.stopwatch) return 0;
  let made = 0;
  for (let next = choices.takeOpen(); next; next = choices.takeOpen()) {
    const [key, problem] = next;
    // Compiles, and shows the smaller problems that candidates are made of: those come first.
    await withArrays(gpu, problem, (arrays) => {
      for (const name of problem.candidates) problem.run(name, arrays);
      return gpu.finish();
    });
    made += await tuneOpen(gpu) + 1;
    const { stopwatch } = choices;
    const name = await withArrays(gpu, problem, (arrays) => fastest(problem, arrays, stopwatch));
    choices.add({ [key]: name });
  }
  return made;
}

async function withArrays<T>(
  gpu: Gpu,
  { shapes }: OpenProblem<GpuArray>,
  use: (arrays: readonly GpuArray[]) => Promise<T>,
): Promise<T> {
  const arrays = shapes.map((shape) => gpu.zeros(shape, "autotune"));
  try {
    return await use(arrays);
  } finally {
    for (const array of arrays) array.release();
  }
}

async function fastest(
  { candidates, expected, run }: OpenProblem<GpuArray>,
  arrays: readonly GpuArray[],
  stopwatch: Profiler,
): Promise<string> {
  const best = new Map(candidates.map((name) => [name, Infinity]));
  const time = (name: string) => best.get(name) as number;
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of candidates) {
      const milliseconds = await timed(stopwatch, arrays, () => run(name, arrays));
      best.set(name, Math.min(time(name), milliseconds));
    }
  }
  const first = candidates.reduce((a, b) => time(b) < time(a) ? b : a);
  return time(first) < time(expected) * MARGIN ? first : expected;
}

/** Milliseconds on the GPU that `run` takes. */
async function timed(
  stopwatch: Profiler,
  [{ gpu }]: readonly GpuArray[],
  run: () => void,
): Promise<number> {
  const { queue } = gpu;
  const usual = queue.profiler;
  gpu.flush();
  queue.profiler = stopwatch;
  try {
    run();
    gpu.flush();
  } finally {
    queue.profiler = usual;
  }
  const kernels = await stopwatch.report();
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}
