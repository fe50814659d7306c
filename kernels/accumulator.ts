// Where a launcher puts a gradient.

import type { GpuArray } from "./runtime/mod.ts";

/** An array that a gradient is written to, instead of to a new one. */
export interface Accumulator {
  /** Of the gradient's shape. */
  readonly array: GpuArray;
  /** Whether the gradient is added to what the array holds; else it overwrites that. */
  readonly accumulate: boolean;
}

/**
 * Where to write a gradient: to a new array, to the array of the one who asks, or nowhere.
 *
 * @param wanted False: no gradient; true: one in a new array.
 * @param make Makes the new array.
 * @returns With a reference of the caller's own; null where no gradient is wanted.
 */
export function accumulatorFor(wanted: true | Accumulator, make: () => GpuArray): Accumulator;
export function accumulatorFor(
  wanted: boolean | Accumulator,
  make: () => GpuArray,
): Accumulator | null;
export function accumulatorFor(
  wanted: boolean | Accumulator,
  make: () => GpuArray,
): Accumulator | null {
  if (!wanted) return null;
  return wanted === true
    ? { array: make(), accumulate: false }
    : { array: wanted.array.retain(), accumulate: wanted.accumulate };
}
