// What classes are taken for, before and after: two matrices, and the pairs that are confused most.

import type { ConfusionMatrix } from "../evaluation/metrics.ts";
import { heatTable } from "./heat_table.ts";
import { card, table } from "./page.ts";

/** A network and what it has predicted. */
export interface Confusions {
  /** Of the stage. */
  readonly name: string;
  /** In percent of the pixels of each class, row by row; rows are labels, columns predictions. */
  readonly shares: readonly number[];
}

/** How many pairs are listed. */
const MOST_PAIRS = 8;

/** The shares of a matrix of counts. */
export function confusionsOf(
  name: string,
  { classCount: size, counts }: ConfusionMatrix,
): Confusions {
  const sums = Array.from(
    { length: size },
    (_, label) => counts.subarray(label * size, (label + 1) * size).reduce((a, b) => a + b, 0),
  );
  const shares = Array.from(
    counts,
    (count, at) => 100 * count / Math.max(1, sums[Math.floor(at / size)]),
  );
  return { name, shares };
}

/** A matrix in a card. */
export function confusionCard({ name, shares }: Confusions, names: readonly string[]): string {
  return card(heatTable({
    caption: {
      title: `What ${name} takes each class for`,
      text: "Of all val pixels of a class (row), the share predicted as each class (column), in %.",
    },
    names,
    values: shares,
    format: (value) => value.toFixed(0),
    corner: "label\u00a0↓ prediction\u00a0→",
    of: "shares",
  }));
}

/** The pairs that are confused most, in any of the networks. */
export function worstPairs(all: readonly Confusions[], names: readonly string[]): string {
  const pairs = names.flatMap((label, i) =>
    names.map((prediction, j) => ({
      name: `${label} → ${prediction}`,
      isWrong: i !== j,
      shares: all.map(({ shares }) => shares[i * names.length + j]),
    }))
  ).filter(({ isWrong }) => isWrong)
    .sort((a, b) => Math.max(...b.shares) - Math.max(...a.shares))
    .slice(0, MOST_PAIRS);
  return card(table(
    {
      title: "Confused most",
      text: "Class → what it is taken for, in % of its val pixels; the more, the higher up.",
    },
    [
      ["label → prediction", ...all.map(({ name }) => name)],
      ...pairs.map(({ name, shares }) => [name, ...shares.map((share) => share.toFixed(0))]),
    ],
  ));
}
