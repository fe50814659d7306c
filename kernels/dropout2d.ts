// Factors of 2-D dropout; the generator is in the WGSL.

import { defineKernel, dispatch, type Gpu, type GpuArray } from "./runtime/mod.ts";
import source from "./dropout2d.wgsl" with { type: "text" };

const factors = defineKernel({
  name: "dropout2d.factors",
  file: "kernels/dropout2d.wgsl",
  source,
  entry: "factors",
  reads: [],
  writes: ["factor"],
  params: {
    count: "u32",
    seed: "u32",
    step: "u32",
    layer: "u32",
    threshold: "u32",
    kept: "f32",
  },
});

/** What decides which planes are dropped. */
export interface DropoutOptions {
  /** Share of the planes that are dropped, in [0, 1). */
  readonly rate: number;
  /** Seed of the run, 32 bits. */
  readonly seed: number;
  /** Number of the optimiser step, 32 bits. */
  readonly step: number;
  /** Tells the dropouts of one step apart, 32 bits. */
  readonly layer: number;
}

/**
 * 0 for dropped planes and 1 / (1 - rate) for the others; the same for the same counters.
 *
 * @returns [N, C].
 * @throws {RangeError} If the rate is not in [0, 1) or a counter is no 32-bit integer.
 */
export function dropoutFactors(
  gpu: Gpu,
  [images, channels]: readonly [number, number],
  { rate, seed, step, layer }: DropoutOptions,
): GpuArray {
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`Cannot run dropout2d as its rate ${rate} is not in [0, 1)`);
  }
  for (const [name, counter] of Object.entries({ seed, step, layer })) {
    if (counter !== counter >>> 0) {
      throw new RangeError(
        `Cannot run dropout2d as its ${name} ${counter} is not an integer from 0 to 2^32 - 1`,
      );
    }
  }
  const factor = gpu.empty([images, channels], "dropout factors");
  const count = factor.size;
  const threshold = Math.floor(rate * 2 ** 32);
  dispatch(
    factors,
    { factor },
    { count, seed, step, layer, threshold, kept: 1 / (1 - rate) },
    count,
  );
  return factor;
}
