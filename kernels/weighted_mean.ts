// Mean of weighted terms, the second pass of every loss; the formula is in the WGSL.

import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import source from "./weighted_mean.wgsl" with { type: "text" };

/** Terms that one invocation adds when folding. */
const FOLD = 64;
/** Few enough terms for the last invocation to add alone. */
const LAST = 256;

const shared = {
  file: "kernels/weighted_mean.wgsl",
  source,
  params: { count: "u32", width: "u32" },
} as const;
const fold = defineKernel({
  ...shared,
  name: "weighted_mean.fold",
  entry: "fold",
  reads: ["terms"],
  writes: ["folded"],
});
const divide = defineKernel({
  ...shared,
  name: "weighted_mean.divide",
  entry: "divide",
  reads: ["terms"],
  writes: ["mean", "weight"],
});

/** A mean and the weight it was divided by, both of shape []. */
export interface WeightedMean {
  /** Σ sums / Σ weights; 0 where the weights are 0. */
  readonly mean: GpuArray;
  /** Σ weights: the number of pixels that count, for a loss. */
  readonly weight: GpuArray;
}

/**
 * Mean of weighted terms in a fixed order. Releases `terms`.
 *
 * @param terms Pairs (sum, weight), [..., 2].
 */
export function weightedMean(terms: GpuArray): WeightedMean {
  const { gpu } = terms;
  while (terms.size / 2 > LAST) {
    const count = terms.size / 2;
    const width = Math.ceil(count / FOLD);
    const folded = gpu.empty([width, 2], "terms of a mean");
    dispatch(fold, { terms, folded }, { count, width }, width);
    terms.release();
    terms = folded;
  }
  const mean = gpu.empty([], "mean");
  const weight = gpu.empty([], "weight of a mean");
  dispatch(divide, { terms, mean, weight }, { count: terms.size / 2, width: 1 }, [1]);
  terms.release();
  return { mean, weight };
}
