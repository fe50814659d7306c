// Where the time of steps goes that several processes make together.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { Collective } from "../parallel/collective.ts";

/** Milliseconds that a step takes a process of several; their sum is the step. */
export interface StepTimes {
  /** Computing, and what the host prepares. */
  compute: number;
  /** Numbers on their way from the GPU to the host and back, while nothing else is done. */
  readBack: number;
  /** Numbers on their way between processes. */
  reduce: number;
  /** Waiting for processes that were later. */
  wait: number;
}

/** Adds up the times of steps, and leaves out what lies between. */
export class StepClock {
  readonly #gpu: Gpu;
  readonly #ranks: Collective;
  #before: Omit<StepTimes, "compute">;
  #total: StepTimes = { compute: 0, readBack: 0, reduce: 0, wait: 0 };
  #steps = 0;

  /** Begins. */
  constructor(gpu: Gpu, ranks: Collective) {
    this.#gpu = gpu;
    this.#ranks = ranks;
    this.#before = this.#now();
  }

  /** What a step took in the mean of all so far; undefined for a process alone, or without a step. */
  get mean(): StepTimes | undefined {
    return this.#ranks.size > 1 ? perStep(this.#total, this.#steps) : undefined;
  }

  /**
   * Counts steps that have just been made.
   *
   * @param milliseconds What they took in all.
   * @returns What each of them took; undefined for a process alone.
   */
  count(steps: number, milliseconds: number): StepTimes | undefined {
    const now = this.#now();
    const spent = { compute: milliseconds, readBack: 0, reduce: 0, wait: 0 };
    for (const part of ["readBack", "reduce", "wait"] as const) {
      spent[part] = now[part] - this.#before[part];
      spent.compute -= spent[part];
    }
    for (const part of PARTS) this.#total[part] += spent[part];
    this.#steps += steps;
    this.#before = now;
    return this.#ranks.size > 1 ? perStep(spent, steps) : undefined;
  }

  /** Leaves out what was done since the last count. */
  skip(): void {
    this.#before = this.#now();
  }

  #now(): Omit<StepTimes, "compute"> {
    return { readBack: this.#gpu.hostTimes.copy, ...this.#ranks.times };
  }
}

const PARTS = ["compute", "readBack", "reduce", "wait"] as const;

function perStep(total: StepTimes, steps: number): StepTimes | undefined {
  if (steps === 0) return undefined;
  const [compute, readBack, reduce, wait] = PARTS.map((part) => total[part] / steps);
  return { compute, readBack, reduce, wait };
}
