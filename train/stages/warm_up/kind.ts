// The warm-up in the registry.

import { Discriminator } from "../../../nn/discriminator.ts";
import type { StageContext, StageKind } from "../common/kind.ts";
import { nextWarmUpBatch } from "./next_batch.ts";
import { WARM_UP_SETTINGS, type WarmUpSettings } from "./settings.ts";
import { WarmUp, type WarmUpBatch } from "./warm_up.ts";

/** Adversarial warm-up in the output space. */
export const warmUp = {
  summary: "adversarial warm-up in the output space",
  settings: WARM_UP_SETTINGS,
  role: "adaptation",
  adapts: "by source labels",
  hasStrongViews: false,
  prepare: (context) => ({
    stage: makeWarmUp(context),
    nextBatch: nextWarmUpBatch,
  }),
  plan: (context) => ({
    stage: makeWarmUp(context),
    makeBatch: () => ({
      source: context.batches.source(),
      target: { images: context.batches.images() },
    }),
  }),
} as const satisfies StageKind<WarmUpSettings, WarmUpBatch>;

function makeWarmUp({ gpu, name, network, options }: StageContext<WarmUpSettings>): WarmUp {
  const { classes } = network;
  const { discriminatorPlanes: planes, seed } = options;
  return new WarmUp(network, new Discriminator(gpu, { classes, planes, seed }), options, name);
}
