// In which numbers networks multiply: the mode that operations take over when they are recorded.

import type { Precision } from "../kernels/runtime/mod.ts";
import { refusePromise, type Synchronous } from "./synchronous.ts";

let precision: Precision = "f32";

/**
 * Runs `fn`; convolutions recorded in it, and their gradients, multiply in these numbers. Everything
 * else, sums among it, is in 32-bit floats.
 *
 * @throws {TypeError} If `fn` returns a promise.
 */
export function computeIn<T>(as: Precision, fn: () => Synchronous<T>): Synchronous<T> {
  const before = precision;
  precision = as;
  try {
    const otherwise = `what follows its first await would not be computed in ${as}`;
    return refusePromise("computeIn", otherwise, fn());
  } finally {
    precision = before;
  }
}

/**
 * What {@link computeIn} said.
 *
 * @internal
 */
export function currentPrecision(): Precision {
  return precision;
}
