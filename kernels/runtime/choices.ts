// Which of several ways a launcher takes: what was measured on this adapter, else what is expected.

import type { Profiler } from "./profile.ts";
import type { Shape } from "./shape.ts";

/** The fastest candidate by what is computed: plain data, to be kept as JSON. */
export type ChoiceTable = Readonly<Record<string, string>>;

/** The ways in which something can be computed. */
export interface Ways<T> {
  /** All of them, by name. */
  readonly candidates: ReadonlyMap<string, T>;
  /** The one to take where nothing was measured. */
  readonly expected: string;
  /** The time that a candidate is expected to take, relative to the others. */
  readonly cost?: (name: string) => number;
}

/** Something that can be computed in several ways, on arrays of the type `A`. */
export interface Problem<T, A extends { readonly shape: Shape }> extends Ways<T> {
  /** The operation and every size that its time depends on. */
  readonly key: string;
  /** The arrays, read or written. */
  readonly arrays: readonly A[];
  /** Enqueues the work on arrays of the same shapes, to time it. */
  run(candidate: T, arrays: readonly A[]): void;
}

/** A problem without its arrays, to be timed later. */
export interface OpenProblem<A> {
  /** The way to take unless another is clearly faster. */
  readonly expected: string;
  /** Names of the ways. */
  readonly candidates: readonly string[];
  /** Shapes of the arrays. */
  readonly shapes: readonly Shape[];
  /** Enqueues the work on arrays of these shapes. */
  run(candidate: string, arrays: readonly A[]): void;
}

/**
 * The choices of one device. Another choice gives other last bits, so none is made unless the
 * caller asks for it: it fills the table with {@link Choices.add}, or opens the device with
 * `autotune` and calls `tune`.
 */
export class Choices<A extends { readonly shape: Shape }> {
  readonly #table = new Map<string, string>();
  readonly #open = new Map<string, OpenProblem<A>>();
  /**
   * Times candidates, where the device was opened with `autotune`.
   *
   * @internal
   */
  readonly stopwatch: Profiler | undefined;
  /** Called when `tune` has added choices, to keep them before anything is lost. */
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
  choose<T>({ key, candidates, expected, arrays, run }: Problem<T, A>): T {
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
  takeOpen(): [key: string, problem: OpenProblem<A>] | undefined {
    const [next] = this.#open;
    if (next) this.#open.delete(next[0]);
    return next;
  }
}
