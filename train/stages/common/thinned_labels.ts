// Labels of frequent classes thinned out, so that rare ones are learnt in few steps.

import { IGNORE } from "../../../kernels/ignore_label.ts";
import type { Random } from "../../../nn/random.ts";
import type { Sample } from "../../data/samples.ts";

/** Where the weights of rare classes end: a class of no pixels weighs 1 / ln 1.02 (Paszke et al., 2016). */
const ENET = 1.02;

/**
 * Samples whose labels are left out at random pixels, of frequent classes more than of rare ones: the mean
 * of a loss over the pixels that stay is, but for chance, that over all pixels with the weights
 * 1 / ln(1.02 + p) of ENet (Paszke et al., 2016), p a class's share of the labelled pixels of the samples.
 * Where nine of ten pixels are one class, the others would have next to no part in a mean over all, and a
 * network would go on predicting that class for thousands of steps.
 *
 * @param samples Labelled, of one batch. Their pixels stay as they are.
 * @param strength Power of the weights: 0 leaves all pixels, 1 is the formula.
 * @param randomOf The random numbers of a sample.
 */
export function thinned(
  samples: readonly Sample[],
  strength: number,
  randomOf: (sample: Sample) => Random,
): Sample[] {
  const counts = new Float64Array(256);
  for (const { label } of samples) label?.data.forEach((id) => counts[id]++);
  counts[IGNORE] = 0;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const weights = counts.map((count) =>
    count === 0 ? 0 : (1 / Math.log(ENET + count / total)) ** strength
  );
  const most = weights.reduce((a, b) => Math.max(a, b), 0);
  // Of 2³² numbers those below this keep a pixel.
  const bounds = weights.map((weight) => most === 0 ? 0 : weight / most * 2 ** 32);
  return samples.map((sample) => {
    const { label } = sample;
    if (!label) return sample;
    const random = randomOf(sample);
    const data = label.data.map((id) => random.uint32() < bounds[id] ? id : IGNORE);
    return { ...sample, label: { ...label, data } };
  });
}
