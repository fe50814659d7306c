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
  /** The operation and every size that its time depends on. */
  readonly key: string;
  /** How often it came up. */
  readonly asked: number;
  /** The way to take unless another is clearly faster. */
  readonly expected: string;
  /** Names of the ways to time, the expected one among them. */
  readonly candidates: readonly string[];
  /** Shapes of the arrays. */
  readonly shapes: readonly Shape[];
  /** Enqueues the work on arrays of these shapes. */
  run(candidate: string, arrays: readonly A[]): void;
}

/** The most candidates of a problem that are timed where their costs are known. */
const MOST_TIMED = 3;
/** A candidate that is expected to take this many times as long as the best one is not timed. */
const HIGHEST_COST = 2;

/**
 * The candidates worth timing: the expected one, and those of the lowest costs.
 *
 * @internal
 */
export function shortlist(
  names: readonly string[],
  expected: string,
  cost: ((name: string) => number) | undefined,
): readonly string[] {
  if (!cost) return names;
  const costs = new Map(names.map((name) => [name, cost(name)]));
  const costOf = (name: string) => costs.get(name) as number;
  const best = [...names].sort((a, b) => costOf(a) - costOf(b));
  const others = best.filter((name) =>
    name !== expected && costOf(name) <= HIGHEST_COST * costOf(best[0] as string)
  );
  return [expected, ...others.slice(0, MOST_TIMED - 1)];
}

/**
 * The choices of one device. Another choice gives other last bits, so none is made unless the
 * caller asks for it: it fills the table with {@link Choices.add}, or opens the device with
 * `autotune` and calls `tune`.
 */
export class Choices<A extends { readonly shape: Shape }> {
  readonly #table = new Map<string, string>();
  readonly #open = new Map<string, OpenProblem<A> & { asked: number }>();
  /**
   * Times candidates, where the device was opened with `autotune`.
   *
   * @internal
   */
  readonly stopwatch: Profiler | undefined;
  /**
   * Whether what is not chosen yet is remembered for `tune`, which needs the stopwatch.
   *
   * @internal
   */
  isNoting: boolean;
  /** Called when `tune` has added choices, to keep them before anything is lost. */
  onTuned: (() => void) | undefined;

  /**
   * Open the device with `autotune` for a stopwatch.
   *
   * @internal
   */
  constructor(stopwatch: Profiler | undefined) {
    this.stopwatch = stopwatch;
    this.isNoting = stopwatch !== undefined;
  }

  /** Every choice so far. */
  get table(): ChoiceTable {
    return Object.fromEntries([...this.#table].sort(([a], [b]) => a < b ? -1 : 1));
  }

  /** Adds choices, such as those of an earlier run on the same adapter. */
  add(table: ChoiceTable): void {
    for (const [key, name] of Object.entries(table)) this.#table.set(key, name);
  }

  /** Takes these choices and no others, such as those of a run that goes on. */
  replace(table: ChoiceTable): void {
    this.#table.clear();
    this.#open.clear();
    this.add(table);
  }

  /**
   * The way that was chosen for a problem, or the expected one.
   *
   * @internal
   */
  choose<T>({ key, candidates, expected, arrays, run, cost }: Problem<T, A>): T {
    const chosen = this.#table.size > 0 ? candidates.get(this.#table.get(key) ?? "") : undefined;
    if (chosen !== undefined) return chosen;
    const open = this.#open.get(key);
    if (open) open.asked++;
    else if (this.isNoting && candidates.size > 1) {
      this.#open.set(key, {
        key,
        asked: 1,
        expected,
        candidates: shortlist([...candidates.keys()], expected, cost),
        shapes: arrays.map(({ shape }) => shape),
        run: (name, arrays) => run(candidates.get(name) as T, arrays),
      });
    }
    return candidates.get(expected) as T;
  }

  /**
   * Takes the problems that are not chosen yet.
   *
   * @internal
   */
  takeOpen(): OpenProblem<A>[] {
    const open = [...this.#open.values()];
    this.#open.clear();
    return open;
  }
}
