// Stage 1 in the registry: what it makes before its first step, and its batches.

import { makeFolder } from "../../base/folders.ts";
import { Loader } from "../../data/loader.ts";
import { leaderAlone } from "../../parallel/leader.ts";
import { shareOf } from "../../parallel/peers.ts";
import type { PlannedBatches } from "../common/planned_batches.ts";
import type { Pasted } from "./class_mix.ts";
import type { PlanContext, Prepared, RunContext, StageContext, StageKind } from "../common/kind.ts";
import { FeatureAnchor, thingsAmong } from "./anchor.ts";
import { Denoise, type DenoiseBatch } from "./denoise.ts";
import { bankFor, labelTarget } from "./label_target.ts";
import { nextDenoiseBatch } from "./next_batch.ts";
import type { PrototypeBank } from "./prototypes.ts";
import { DENOISE_SETTINGS, type DenoiseSettings } from "./settings.ts";
import { uploadSoftLabels } from "./soft_label_store.ts";
import { SoftLabels } from "./soft_labels.ts";

/** Passes over the target images from which prototypes start in the released code. */
const OFFICIAL_PASSES = 4;

/** The stage whose backbone is kept near to; null for the file that the run starts from. */
const BACKBONE_OF = { "self-supervised": "selfsup", init: null } as const;

/** Stage 1: pseudo-label denoising and target-structure learning. */
export const denoise = {
  summary: "stage 1 of ProDA: denoised pseudo labels and target structure",
  settings: DENOISE_SETTINGS,
  role: "adaptation",
  adapts: "by pseudo labels",
  hasStrongViews: true,
  // Soft labels, and the statistics that they are made with.
  passes: ({ statistics }) => statistics === "target" ? 2 : 1,
  recipe: (variant) => ({
    studentView: "weak",
    encoderView: variant === "official" ? "whole" : "weak",
    encoderStatistics: variant === "official" ? "batch" : "running",
    encoderDropout: variant === "official",
    distanceWarp: variant === "official" ? "nearest" : "bilinear",
    padding: variant === "official" ? "counted" : "masked",
    normalisation: variant,
    prototypeStart: variant,
    prototypeUpdate: variant,
  }),
  check: ({ featureDistance, things }, classes) => {
    if (featureDistance > 0) thingsAmong(classes, things);
  },
  backboneStart: ({ featureDistance, featuresOf }) =>
    featureDistance === 0 || featuresOf === "before"
      ? null
      : { stage: BACKBONE_OF[featuresOf], otherwise: ["featuresOf", "before"] },
  async prepare(context) {
    const { gpu, options, target } = context;
    const { softLabels, bank } = await softLabelsOf(context);
    const stage = makeDenoise(context, bank, anchorOf(context));
    const indices = new Map(target.items.map(({ name }, index) => [name, index]));
    return {
      stage,
      made: softLabels.digests,
      nextBatch: (batches) => nextDenoiseBatch(batches, softLabels, options),
      makeLabels: (samples, images) => {
        const wanted = samples.map((sample) => ({
          ...sample,
          index: indices.get(sample.name) as number,
        }));
        using probabilities = uploadSoftLabels(gpu, softLabels, wanted);
        return stage.denoise(images, probabilities);
      },
    } satisfies Prepared<DenoiseBatch>;
  },
  plan(context) {
    const { batches, network, options } = context;
    return {
      stage: makeDenoise(context, bankFor(network), plannedAnchor(context)),
      makeBatch: () => ({
        source: batches.source(),
        target: {
          ...batches.targetViews(),
          softLabels: batches.maps("soft labels", "f32", network.classes),
          ...(options.encoderView === "whole" ? { whole: batches.whole() } : {}),
          ...(options.mix === "classes" ? { pasted: plannedPasted(batches, options) } : {}),
          ...(options.maskedWeight > 0 ? { masked: batches.images() } : {}),
        },
      }),
    };
  },
} as const satisfies StageKind<DenoiseSettings, DenoiseBatch>;

/** The stage, its momentum encoder a copy of the network; prototypes and anchor pass to it. */
function makeDenoise(
  { name, network, options, createNetwork }: StageContext<DenoiseSettings>,
  bank: PrototypeBank,
  anchor: FeatureAnchor | null,
): Denoise {
  const encoder = createNetwork({ init: "none" });
  encoder.loadStateDict(network.stateDict());
  return new Denoise(network, encoder, bank, options, name, anchor);
}

/** Where features of things are to stay, if they are to; a checkpoint's follow where the stage goes on. */
function anchorOf(context: RunContext<DenoiseSettings>): FeatureAnchor | null {
  const { classes, network, createNetwork, options: { featureDistance, featuresOf, things } } =
    context;
  if (featureDistance === 0) return null;
  const frozen = createNetwork({ init: "none" });
  try {
    if (featuresOf === "before") frozen.loadStateDict(network.stateDict(), { strict: false });
    else context.loadBackbone(frozen, BACKBONE_OF[featuresOf]);
    return new FeatureAnchor(frozen, thingsAmong(classes.names, things));
  } catch (error) {
    frozen.dispose();
    throw error;
  }
}

/** An anchor that holds nothing, for a plan. */
function plannedAnchor(
  { network: { classes }, createNetwork, options: { featureDistance } }: PlanContext<
    DenoiseSettings
  >,
): FeatureAnchor | null {
  if (featureDistance === 0) return null;
  return new FeatureAnchor(createNetwork({ init: "none" }), new Array(classes).fill(true));
}

/** The soft labels of the target images, and prototypes: as the warm-up model has them, or a checkpoint. */
async function softLabelsOf(
  context: RunContext<DenoiseSettings>,
): Promise<{ readonly softLabels: SoftLabels; readonly bank: PrototypeBank }> {
  const { network, options, ranks, target, longSide, signal } = context;
  const folder = context.pathOf("soft_labels");
  const variants = {
    startVariant: options.prototypeStart,
    updateVariant: options.prototypeUpdate,
  };
  const count = target.items.length;
  if (context.isResumed) {
    const { classes } = network;
    const softLabels = new SoftLabels(folder, { classes, digests: context.made });
    const missing = softLabels.missing(target.items);
    await ranks.barrier(); // all have looked before one makes some again
    if (missing.length === 0) return { softLabels, bank: bankFor(network, variants) };
    context.message(
      `${missing.length} of ${count} soft labels are missing, such as ${
        missing[0]
      }: all are made again`,
    );
    context.returnToStart();
  } else context.message(`soft labels and prototypes of ${count} target images`);
  await context.adaptStatistics();
  const views = options.prototypeStart === "official" ? context.weakViews(OFFICIAL_PASSES) : null;
  await leaderAlone(ranks, () => makeFolder(folder));
  const softLabels = new SoftLabels(folder, { classes: network.classes });
  using images = new Loader({ dataset: target, order: "sequential", share: shareOf(ranks) });
  const bank = await labelTarget(network, images, softLabels, {
    ...variants,
    views,
    padding: options.padding,
    longSide,
    signal,
  });
  if (ranks.size > 1) {
    await ranks.barrier();
    softLabels.missing(target.items); // notes the digests of those that others have made
  }
  return { softLabels, bank };
}

/** What a plan has in the place of pasted pixels. */
function plannedPasted(batches: PlannedBatches, { studentView }: DenoiseSettings): Pasted {
  const labels = batches.labels();
  return studentView === "weak" ? { labels, weak: batches.images() } : { labels };
}
