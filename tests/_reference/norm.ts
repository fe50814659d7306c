// Batch and group normalisation in doubles, as plain loops.

import type { Nd } from "../_check.ts";

/** Mean and biased variance of some numbers. */
function moments(values: readonly number[]): [mean: number, variance: number] {
  let mean = 0;
  for (const value of values) mean += value / values.length;
  let variance = 0;
  for (const value of values) variance += (value - mean) ** 2 / values.length;
  return [mean, variance];
}

/**
 * Normalises each of the sets that `setOf(n, c)` numbers, with the set's own moments or, where
 * `given` has some, with those; then multiplies by weight and adds bias of the channel.
 */
function normalise(
  { data, shape }: Nd,
  weight: Nd,
  bias: Nd,
  eps: number,
  setOf: (n: number, c: number) => number,
  given?: (set: number) => [mean: number, variance: number],
): Nd {
  const [images = 1, channels = 1] = shape;
  const plane = data.length / (images * channels);
  const sets: number[][] = [];
  const place = (i: number) => {
    const channel = Math.floor(i / plane) % channels;
    return { channel, set: setOf(Math.floor(i / plane / channels), channel) };
  };
  data.forEach((value, i) => (sets[place(i).set] ??= []).push(value));
  const statistics = sets.map((values, set) => given?.(set) ?? moments(values));
  const output = data.map((value, i) => {
    const { channel, set } = place(i);
    const [mean, variance] = statistics[set];
    const normalised = (value - mean) / Math.sqrt(variance + eps);
    return normalised * weight.data[channel] + bias.data[channel];
  });
  return { data: output, shape };
}

/** Batch norm of [N, C, ...] by the statistics of the batch. */
export function batchNorm(x: Nd, weight: Nd, bias: Nd, eps: number): Nd {
  return normalise(x, weight, bias, eps, (_, c) => c);
}

/** Batch norm of [N, C, ...] by given statistics. */
export function frozenBatchNorm(
  x: Nd,
  weight: Nd,
  bias: Nd,
  { mean, variance }: { mean: ArrayLike<number>; variance: ArrayLike<number> },
  eps: number,
): Nd {
  return normalise(x, weight, bias, eps, (_, c) => c, (c) => [mean[c], variance[c]]);
}

/** Group norm of [N, C, ...]. */
export function groupNorm(x: Nd, weight: Nd, bias: Nd, groups: number, eps: number): Nd {
  const width = (x.shape[1] ?? 1) / groups;
  return normalise(x, weight, bias, eps, (n, c) => n * groups + Math.floor(c / width));
}

/** Running mean and variance of [N, C, ...] after one training step from (0, 1). */
export function runningStatistics(
  { data, shape }: Nd,
  momentum: number,
): { mean: number[]; variance: number[] } {
  const [images = 1, channels = 1] = shape;
  const plane = data.length / (images * channels);
  const sets = Array.from(
    { length: channels },
    (_, channel) => [...data].filter((_, i) => Math.floor(i / plane) % channels === channel),
  );
  const count = images * plane;
  const statistics = sets.map(moments);
  return {
    mean: statistics.map(([mean]) => momentum * mean),
    variance: statistics.map(([, variance]) =>
      1 - momentum + momentum * variance * count / (count - 1)
    ),
  };
}
