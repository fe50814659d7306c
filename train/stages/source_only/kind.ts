// Supervised training in the registry: on source labels, and for comparison on the target's own.

import type { Batches } from "../common/batches.ts";
import type { StageKind } from "../common/kind.ts";
import { SUPERVISED_SETTINGS, type SupervisedSettings } from "./settings.ts";
import { SourceOnly, type SourceOnlyBatch } from "./source_only.ts";

type SourceOnlyKind = StageKind<SupervisedSettings, SourceOnlyBatch>;

const supervised = {
  settings: SUPERVISED_SETTINGS,
  hasStrongViews: false,
  prepare: ({ network, options, name }) => ({
    stage: new SourceOnly(network, options, name),
    nextBatch: (batches) => nextSourceOnlyBatch(batches, options),
  }),
  plan: ({ network, options, name, batches }) => ({
    stage: new SourceOnly(network, options, name),
    makeBatch: () => ({ source: batches.source() }),
  }),
} as const satisfies Partial<SourceOnlyKind>;

/** Supervised training on source, where adaptation starts. */
export const sourceOnly = {
  ...supervised,
  summary: "supervised training on source",
  role: "adaptation",
} as const satisfies SourceOnlyKind;

/** Supervised training on target labels: what adaptation could reach at best. */
export const oracle = {
  ...supervised,
  summary: "supervised training on the target's own labels, to compare with",
  role: "reference",
} as const satisfies SourceOnlyKind;

/** A batch of labelled images. @param settings Unless given, all labels stay. */
export async function nextSourceOnlyBatch(
  batches: Batches,
  { balance, steps }: Pick<SupervisedSettings, "balance" | "steps"> = { balance: 0, steps: 1 },
): Promise<SourceOnlyBatch> {
  const images = steps * batches.options.batch;
  const thinning = (position: number) => balance * Math.min(1, 2 - 2 * position / images);
  return { source: await batches.nextSource(balance > 0 ? { thinning } : {}) };
}
