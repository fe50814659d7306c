// Where a launcher puts the gradient of a parameter.

import type { GpuArray } from "./runtime/mod.ts";

/** An array that a gradient is written to, instead of to a new one. */
export interface Accumulator {
  /** Of the parameter's shape. */
  readonly array: GpuArray;
  /** Whether the gradient is added to what the array holds; else it overwrites that. */
  readonly accumulate: boolean;
}
