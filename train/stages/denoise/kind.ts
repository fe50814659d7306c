// Stage 1 in the registry: what it makes before its first step, and its batches.

import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { warpMaps } from "../../../kernels/warp.ts";
import { quarterOf, type WholeImages } from "../common/batch.ts";
import type { Batches, WeakViews } from "../common/batches.ts";
import type { Prepared, RunContext, StageContext, StageKind } from "../common/kind.ts";
import { uploadSamples } from "../../evaluation/image_batches.ts";
import { Denoise, type DenoiseBatch } from "./denoise.ts";
import type { PrototypeBank } from "./prototypes.ts";
import { DENOISE_SETTINGS, type DenoiseSettings } from "./settings.ts";
import { bankFor, labelTarget, SoftLabels } from "./soft_labels.ts";

/** Passes over the target images from which prototypes start in the released code. */
const OFFICIAL_PASSES = 4;

/** Stage 1: pseudo-label denoising and target-structure learning. */
export const denoise = {
  summary: "stage 1 of ProDA: denoised pseudo labels and target structure",
  settings: DENOISE_SETTINGS,
  role: "adaptation",
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
  async prepare(context) {
    const { gpu, options, target } = context;
    const { softLabels, bank } = await softLabelsOf(context);
    const stage = makeDenoise(context, bank);
    const indices = new Map(target.items.map(({ name }, index) => [name, index]));
    return {
      stage,
      made: softLabels.digests,
      nextBatch: (batches) => nextDenoiseBatch(batches, softLabels, options.encoderView),
      makeLabels: (samples, images) => {
        const wanted = samples.map((sample) => ({
          ...sample,
          index: indices.get(sample.name) as number,
        }));
        using probabilities = softLabels.upload(gpu, wanted);
        return stage.denoise(images, probabilities);
      },
    } satisfies Prepared<DenoiseBatch>;
  },
  plan(context) {
    const { batches, network, options } = context;
    return {
      stage: makeDenoise(context, bankFor(network)),
      makeBatch: () => ({
        source: batches.source(),
        target: {
          ...batches.targetViews(),
          softLabels: batches.maps("soft labels", "f32", network.classes),
          ...(options.encoderView === "whole" ? { whole: batches.whole() } : {}),
        },
      }),
    };
  },
} as const satisfies StageKind<DenoiseSettings, DenoiseBatch>;

/** The stage, its momentum encoder a copy of the network; the prototypes pass to it. */
function makeDenoise(
  { name, network, options, createNetwork }: StageContext<DenoiseSettings>,
  bank: PrototypeBank,
): Denoise {
  const encoder = createNetwork({ init: "none" });
  encoder.loadStateDict(network.stateDict());
  return new Denoise(network, encoder, bank, options, name);
}

/** The soft labels of the target images, and prototypes: as the warm-up model has them, or a checkpoint. */
async function softLabelsOf(
  context: RunContext<DenoiseSettings>,
): Promise<{ readonly softLabels: SoftLabels; readonly bank: PrototypeBank }> {
  const { network, options, target, longSide, signal } = context;
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
  const start = { ...variants, views, padding: options.padding };
  return await labelTarget(network, target, folder, longSide, signal, start);
}

/**
 * A batch of labelled source images, and of target images in two views with their soft labels.
 *
 * @param encoderView Whether the whole images come with them.
 */
export async function nextDenoiseBatch(
  batches: Batches,
  softLabels: SoftLabels,
  encoderView: DenoiseSettings["encoderView"] = "weak",
): Promise<DenoiseBatch> {
  const source = await batches.nextSource();
  const weak = await batches.nextTarget();
  return {
    source,
    target: {
      ...batches.withStrong(weak),
      softLabels: cutSoftLabels(batches, softLabels, weak),
      ...(encoderView === "whole" ? { whole: wholeImages(batches, weak) } : {}),
    },
  };
}

/** The whole images of weak views, as evaluation sees them. */
function wholeImages(
  { options: { gpu, view: { longSide } } }: Batches,
  { samples, views }: WeakViews,
): WholeImages {
  const images = samples.map((sample) => uploadSamples(gpu, [sample], longSide).images);
  return { images, views };
}

/** Soft labels of whole images, which may differ in size, cut to the weak views: [N, K, h, w]. */
function cutSoftLabels(
  { options: { gpu, view: { crop } } }: Batches,
  softLabels: SoftLabels,
  { samples, views }: WeakViews,
): GpuArray {
  const size = quarterOf(crop);
  const cuts = samples.map((sample, at) => {
    const { shape, data } = softLabels.read(sample.index, sample);
    const [, , height = 0, width = 0] = shape;
    using whole = gpu.upload(data, shape, "soft labels");
    return warpMaps(whole, [views[at].mapView({ height, width }, size)], size);
  });
  const [, ...rest] = cuts[0].shape;
  const batch = gpu.empty([cuts.length, ...rest], "soft labels");
  cuts.forEach((cut, at) => {
    using row = batch.slice(at, 1);
    gpu.copy(cut, row);
    cut.release();
  });
  return batch;
}
