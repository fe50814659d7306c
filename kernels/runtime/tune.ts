// Autotuning: times the candidates of what was run, and chooses.

import type { Gpu, GpuArray } from "./array.ts";
import type { OpenProblem } from "./choices.ts";
import { MemoryError } from "./errors.ts";
import { planningGpu } from "./plan.ts";
import { LOOSEST_FIT } from "./pool.ts";
import type { Profiler } from "./profile.ts";
import type { Shape } from "./shape.ts";

/** Runs of each candidate that count, fewer of long ones; one before them compiles. */
const ROUNDS = 4;
/** Operations of a run of which there are fewer: 0.1 s at 10^12 of them per second. */
const LONG_WORK = 1e11;
/** A candidate must be this much faster than the expected one: less is noise. */
const MARGIN = 0.95;
/** Unless another bound is given. */
const MOST_MILLISECONDS = 60_000;
/** Operations in the time of a byte, to compare problems by; rather few for a GPU. */
const FLOPS_PER_BYTE = 20;
/** Bytes kept for reuse: problems have sizes of their own, and would take all memory together. */
const MOST_FREE = 2 ** 28;
/** Random numbers that arrays are filled with, over and over. */
const NOISE_LENGTH = 2 ** 18;

/** How long to tune, and who hears of it. */
export interface TuneOptions {
  /**
   * Milliseconds after which no other problem is begun: those left take their expected way. A minute
   * unless given.
   */
  readonly mostMilliseconds?: number | undefined;
  /** Ends it early, with what is chosen by then. */
  readonly signal?: AbortSignal | undefined;
  /** Hears how many of the problems are done, at first of none. */
  readonly onProgress?: ((done: number, problems: number) => void) | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/** What a tuning has come to. */
export interface Tuning {
  /** Problems that were timed and chosen. */
  readonly chosen: number;
  /** Problems that were not timed as their arrays do not fit the memory budget. */
  readonly skipped: number;
  /** Problems that were left when the time was over. */
  readonly left: number;
  /** How long it took. */
  readonly milliseconds: number;
}

/**
 * Times the candidates of what was run since the device was opened with `autotune` and is not chosen
 * yet, on arrays of random numbers, and adds the fastest to `gpu.choices`: the problems with the most
 * work first, and of those whose candidates have costs only the best few. Does nothing on other
 * devices.
 *
 * @throws {GpuError} If the device is closed or lost, or has failed.
 */
export async function tune(gpu: Gpu, options: TuneOptions = {}): Promise<Tuning> {
  gpu.check();
  const { choices } = gpu;
  const { now = () => performance.now(), onProgress } = options;
  const started = now();
  const { stopwatch } = choices;
  if (!stopwatch) return { chosen: 0, skipped: 0, left: 0, milliseconds: 0 };
  const open = await Promise.all(choices.takeOpen().map((problem) => planned(gpu, problem)));
  open.sort((a, b) => b.work - a.work);
  const end = started + (options.mostMilliseconds ?? MOST_MILLISECONDS);
  using tuner = new Tuner(gpu, stopwatch, () => options.signal?.aborted ? 0 : end - now());
  if (open.length > 0) onProgress?.(0, open.length);
  for (const [done, problem] of open.entries()) {
    await tuner.settle(problem);
    onProgress?.(done + 1, open.length);
  }
  if (tuner.chosen > 0) choices.onTuned?.();
  const { chosen, skipped, left } = tuner;
  return { chosen, skipped, left, milliseconds: now() - started };
}

/** A problem, and what is known of it without running it. */
interface PlannedProblem extends OpenProblem<GpuArray> {
  /** Operations of the expected way, as often as it came up; bytes where they take longer. */
  readonly work: number;
  /** The most bytes that a candidate holds at once. */
  readonly peak: number;
}

/** Runs the candidates on a device that only counts. */
async function planned(
  { adapter, choices, device: { limits }, kernelClass, maxBindingBytes }: Gpu,
  problem: OpenProblem<GpuArray>,
): Promise<PlannedProblem> {
  const { candidates, expected, asked, shapes, run } = problem;
  using gpu = planningGpu({ adapter, limits, kernels: kernelClass, maxBindingBytes });
  gpu.choices.add(choices.table);
  try {
    const arrays = shapes.map((shape) => gpu.zeros(shape, "autotune"));
    run(expected, arrays);
    gpu.flush();
    const kernels = await gpu.profiler?.report() ?? [];
    const work = kernels.map(({ flops, bytes }) => Math.max(flops, FLOPS_PER_BYTE * bytes));
    for (const name of candidates) if (name !== expected) run(name, arrays);
    return { ...problem, work: asked * work.reduce((a, b) => a + b, 0), peak: gpu.memory.peak };
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    return { ...problem, work: 0, peak: Infinity };
  }
}

/** Chooses for one problem after the other, while there is time. */
class Tuner implements Disposable {
  chosen = 0;
  skipped = 0;
  left = 0;
  readonly #gpu: Gpu;
  readonly #stopwatch: Profiler;
  readonly #timeLeft: () => number;
  #noise: GpuArray | undefined;

  /** `timeLeft` gives milliseconds. */
  constructor(gpu: Gpu, stopwatch: Profiler, timeLeft: () => number) {
    this.#gpu = gpu;
    this.#stopwatch = stopwatch;
    this.#timeLeft = timeLeft;
  }

  /** Chooses, unless there is neither time nor memory, or only one candidate is worth timing. */
  async settle(problem: PlannedProblem): Promise<void> {
    const { key, candidates, expected, peak } = problem;
    const { choices, memory, pool } = this.#gpu;
    if (Object.hasOwn(choices.table, key)) return; // as a part of one before
    if (candidates.length === 1) return choices.add({ [key]: expected });
    if (this.#timeLeft() <= 0) return void this.left++;
    const noiseBytes = this.#noise ? 0 : 4 * NOISE_LENGTH;
    const bytes = noiseBytes + LOOSEST_FIT * peak;
    if (memory.live + bytes > memory.budget) return void this.skipped++;
    if (memory.free > MOST_FREE) pool.trim();
    const arrays = problem.shapes.map((shape) => this.#random(shape));
    try {
      await this.#warmUp(problem, arrays);
      choices.add({ [key]: await this.#fastest(problem, arrays) });
      this.chosen++;
    } finally {
      for (const array of arrays) array.release();
    }
  }

  /**
   * Compiles the kernels and copies the numbers; and shows the smaller problems that candidates are
   * made of, which come first.
   */
  async #warmUp(problem: PlannedProblem, arrays: readonly GpuArray[]): Promise<void> {
    this.#run(problem, arrays, undefined, () => undefined);
    for (const part of this.#gpu.choices.takeOpen()) {
      await this.settle(await planned(this.#gpu, part));
    }
  }

  async #fastest(problem: PlannedProblem, arrays: readonly GpuArray[]): Promise<string> {
    const { candidates, expected, work, asked } = problem;
    const rounds = Math.floor(ROUNDS * LONG_WORK * asked / work);
    for (let round = 0; round < Math.max(1, Math.min(ROUNDS, rounds)); round++) {
      this.#run(problem, arrays, this.#stopwatch, (name) => `${round} ${name}`);
    }
    const best = new Map(candidates.map((name) => [name, Infinity]));
    const time = (name: string) => best.get(name) as number;
    for (const { label, milliseconds } of await this.#stopwatch.report()) {
      const name = label.slice(label.indexOf(" ") + 1);
      best.set(name, Math.min(time(name), milliseconds));
    }
    const first = candidates.reduce((a, b) => time(b) < time(a) ? b : a);
    return time(first) < time(expected) * MARGIN ? first : expected;
  }

  /** Runs each candidate once, long ones in submissions of their own, on a stopwatch or none. */
  #run(
    { candidates, run, work, asked }: PlannedProblem,
    arrays: readonly GpuArray[],
    stopwatch: Profiler | undefined,
    lapOf: (name: string) => string | undefined,
  ): void {
    const { queue, pool } = this.#gpu;
    const isLong = work > asked * LONG_WORK / 10;
    const usual = queue.profiler;
    this.#gpu.flush();
    queue.profiler = stopwatch;
    try {
      for (const name of candidates) {
        // Packed weights are made anew, as after every step of an optimiser.
        for (const array of arrays) pool.dropDerived(array.storage);
        this.#stopwatch.lap = lapOf(name);
        run(name, arrays);
        if (isLong) this.#gpu.flush();
      }
      this.#gpu.flush();
    } finally {
      this.#stopwatch.lap = undefined;
      queue.profiler = usual;
    }
  }

  /** An array of random numbers: some adapters are faster on zeros than on what a step has. */
  #random(shape: Shape): GpuArray {
    const array = this.#gpu.empty(shape, "autotune");
    this.#noise ??= this.#gpu.upload(
      Float32Array.from({ length: NOISE_LENGTH }, () => 2 * Math.random() - 1),
      [NOISE_LENGTH],
      "autotune",
    );
    using all = array.view([array.size]);
    for (let start = 0; start < array.size; start += NOISE_LENGTH) {
      const count = Math.min(NOISE_LENGTH, array.size - start);
      using from = this.#noise.slice(0, count);
      using to = all.slice(start, count);
      this.#gpu.copy(from, to);
    }
    return array;
  }

  /** Gives back the numbers. */
  [Symbol.dispose](): void {
    this.#noise?.release();
  }
}
