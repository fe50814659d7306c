// Element-wise functions and sums in doubles, as plain loops.

import type { Nd } from "../_check.ts";

/** Applies `f` to every element. */
export function map(f: (x: number) => number): (x: Nd) => Nd {
  return ({ data, shape }) => ({ data: data.map(f), shape });
}

/** Applies `f` to the elements of two arrays of one shape. */
export function zip(f: (a: number, b: number) => number): (a: Nd, b: Nd) => Nd {
  return (a, b) => ({ data: a.data.map((x, i) => f(x, b.data[i])), shape: a.shape });
}

/** Sum of all elements. */
export function sum({ data }: Nd): Nd {
  let total = 0;
  for (const x of data) total += x;
  return { data: Float64Array.of(total), shape: [] };
}

/** x [N, C, ...] times factor [N, C]. */
export function mulChannels(x: Nd, factor: Nd): Nd {
  const plane = x.data.length / factor.data.length;
  return {
    data: x.data.map((value, i) => value * factor.data[Math.floor(i / plane)]),
    shape: x.shape,
  };
}
