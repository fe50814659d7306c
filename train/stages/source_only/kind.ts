// Supervised training in the registry: on source labels, and for comparison on the target's own.

import type { Batches } from "../common/batches.ts";
import type { StageKind } from "../common/kind.ts";
import type { StageSettings } from "../common/settings.ts";
import { SourceOnly, type SourceOnlyBatch } from "./source_only.ts";

type SourceOnlyKind = StageKind<StageSettings, SourceOnlyBatch>;

const supervised = {
  settings: {},
  hasStrongViews: false,
  prepare: ({ network, options, name }) => ({
    stage: new SourceOnly(network, options, name),
    nextBatch: nextSourceOnlyBatch,
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

/** A batch of labelled images. */
export async function nextSourceOnlyBatch(batches: Batches): Promise<SourceOnlyBatch> {
  return { source: await batches.nextSource() };
}
