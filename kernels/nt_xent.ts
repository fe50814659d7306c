// The contrastive loss of SimCLR; the formula is in the WGSL.

import { defineKernel, dispatch, formatShape, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./nt_xent.wgsl" with { type: "text" };

const shared = {
  file: "kernels/nt_xent.wgsl",
  source,
  params: { rows: "u32", columns: "u32", first: "u32", scale: "f32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "nt_xent.forward",
  entry: "forward",
  reads: ["similarities"],
  writes: ["terms", "logSums"],
});
const backward = defineKernel({
  ...shared,
  name: "nt_xent.backward",
  entry: "backward",
  reads: ["similarities", "gradOutput", "savedLogSums", "weight"],
  writes: ["gradSimilarities"],
});

/** What {@link ntXentForward} returns: the loss, its divisor, and what the backward needs. */
export interface NtXentForward extends WeightedMean {
  /** log Σ exp(s / τ) over all but the row itself, [2B]. */
  readonly logSums: GpuArray;
}

/**
 * Mean over rows of −log of the share of their partner in the softmax over all other rows.
 *
 * @param similarities [2B, 2B]; rows i and i + B are partners.
 * @param temperature τ.
 * @throws {TypeError} If the matrix is not square with an even number of rows.
 */
export function ntXentForward(similarities: GpuArray, temperature: number): NtXentForward {
  const columns = sideOf(similarities);
  const { gpu } = similarities;
  const allTerms = gpu.empty([columns, 2], "terms of nt_xent");
  const allSums = gpu.empty([columns], "log sums of nt_xent");
  const scale = 1 / temperature;
  sliceByImage(
    [similarities],
    [allTerms, allSums],
    ([similarities], [terms, logSums], first) => {
      const [rows] = logSums.shape;
      const params = { rows, columns, first, scale };
      dispatch(forward, { similarities, terms, logSums }, params, rows);
    },
  );
  return { ...weightedMean(allTerms), logSums: allSums };
}

/** Gradient of {@link ntXentForward}; `logSums` and `weight` are what it returned. */
export function ntXentBackward(
  gradOutput: GpuArray,
  similarities: GpuArray,
  { logSums, weight }: Pick<NtXentForward, "logSums" | "weight">,
  temperature: number,
): GpuArray {
  const columns = sideOf(similarities);
  const gradient = similarities.gpu.empty(similarities.shape, "gradient of nt_xent");
  const scale = 1 / temperature;
  sliceByImage(
    [similarities, logSums],
    [gradient],
    ([similarities, savedLogSums], [gradSimilarities], first) => {
      const [rows] = savedLogSums.shape;
      dispatch(
        backward,
        { similarities, gradOutput, savedLogSums, weight, gradSimilarities },
        { rows, columns, first, scale },
        rows * columns,
      );
    },
  );
  return gradient;
}

function sideOf({ shape, label }: GpuArray): number {
  const [rows = 0, columns] = shape;
  if (shape.length !== 2 || rows !== columns || rows === 0 || rows % 2 === 1) {
    throw new TypeError(
      `Cannot run nt_xent as it takes the similarities of pairs, [2B, 2B]: "${label}" is ${
        formatShape(shape)
      }`,
    );
  }
  return rows;
}
