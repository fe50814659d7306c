// Which of several ways a launcher takes: what was measured on this adapter, else what is expected.

import type { GpuArray } from "./array.ts";
import type { Gpu } from "./gpu.ts";
import type { Profiler } from "./profile.ts";

/** The fastest candidate by what is computed: plain data, to be kept as JSON. */
export type ChoiceTable = Readonly<Record<string, string>>;

/** Something that can be computed in several ways. */
export interface Problem<T> {
  /** The operation and every size that its time depends on. */
  readonly key: string;
  /** The ways, by name. */
  readonly candidates: ReadonlyMap<string, T>;
  /** The way to take where nothing was measured. */
  readonly expected: string;
  /** The arrays, read or written. */
  readonly arrays: readonly GpuArray[];
  /** Enqueues the work on arrays of the same shapes, to time it. */
  run(candidate: T, arrays: readonly GpuArray[]): void;
}

/** A problem without its arrays, to be timed later. */
interface OpenProblem {
  readonly expected: string;
  readonly candidates: readonly string[];
  readonly shapes: readonly (readonly number[])[];
  run(candidate: string, arrays: readonly GpuArray[]): void;
}

/**
 * The choices of one device. Another choice gives other last bits, so none is made unless the caller asks
 * for it: it fills the table with {@link Choices.add}, or opens the device with `autotune` and calls
 * {@link tune}.
 */
export class Choices {
  readonly #table = new Map<string, string>();
  readonly #open = new Map<string, OpenProblem>();
  /**
   * Times candidates, where the device was opened with `autotune`.
   *
   * @internal
   */
  readonly stopwatch: Profiler | undefined;
  /** Called when {@link tune} has added choices, to keep them before anything is lost. */
  onTuned: (() => void) | undefined;

  /**
   * Open the device with `autotune` for a stopwatch: what is not chosen yet is then remembered.
   *
   * @internal
   */
  constructor(stopwatch: Profiler | undefined) {
    this.stopwatch = stopwatch;
  }

  /** Every choice so far. */
  get table(): ChoiceTable {
    return Object.fromEntries([...this.#table].sort(([a], [b]) => a < b ? -1 : 1));
  }

  /** Adds choices, such as those of an earlier run on the same adapter. */
  add(table: ChoiceTable): void {
    for (const [key, name] of Object.entries(table)) this.#table.set(key, name);
  }

  /**
   * The way that was chosen for a problem, or the expected one.
   *
   * @internal
   */
  choose<T>({ key, candidates, expected, arrays, run }: Problem<T>): T {
    const chosen = candidates.get(this.#table.get(key) ?? "");
    if (chosen !== undefined) return chosen;
    if (this.stopwatch && candidates.size > 1) {
      this.#open.set(key, {
        expected,
        candidates: [...candidates.keys()],
        shapes: arrays.map(({ shape }) => shape),
        run: (name, arrays) => run(candidates.get(name) as T, arrays),
      });
    }
    return candidates.get(expected) as T;
  }

  /**
   * Takes a problem that is not chosen yet.
   *
   * @internal
   */
  takeOpen(): [key: string, problem: OpenProblem] | undefined {
    const [next] = this.#open;
    if (next) this.#open.delete(next[0]);
    return next;
  }
}

/** Runs of each candidate that count; one before them compiles. */
const ROUNDS = 3;
/** A candidate must be this much faster than the expected one: less is noise. */
const MARGIN = 0.95;

/**
 * Times every candidate of what was run since the device was opened with `autotune` and is not chosen yet,
 * on arrays of zeros, and adds the fastest to `gpu.choices`. Does nothing on other devices.
 *
 * @returns How many choices were made.
 */
export async function tune(gpu: Gpu): Promise<number> {
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
  { shapes }: OpenProblem,
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
  { candidates, expected, run }: OpenProblem,
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
