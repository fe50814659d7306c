// Batches of stage 1: source images, target images in two views, and the soft labels of these.

import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { warpMaps } from "../../../kernels/warp.ts";
import { uploadSamples } from "../../evaluation/image_batches.ts";
import { quarterOf, type WholeImages } from "../common/batch.ts";
import type { Batches, WeakViews } from "../common/batches.ts";
import { maskedView, mixClasses } from "./added_views.ts";
import type { DenoiseBatch } from "./denoise.ts";
import { AS_IN_THE_PAPER, type DenoiseChoices } from "./settings.ts";
import type { SoftLabelStore } from "./soft_label_store.ts";

/** What decides which images a batch has. */
export type BatchChoices = Pick<
  DenoiseChoices,
  "encoderView" | "studentView" | "mix" | "maskedWeight" | "maskRatio" | "maskBlock"
>;

/**
 * A batch of labelled source images, and of target images in two views with their soft labels.
 *
 * @param choices Whether the whole images come with them, mixed ones, or masked ones.
 */
export async function nextDenoiseBatch(
  batches: Batches,
  softLabels: SoftLabelStore,
  choices: BatchChoices = AS_IN_THE_PAPER,
): Promise<DenoiseBatch> {
  const weak = await batches.nextTarget();
  const source = await batches.nextSource({ beside: weak.samples });
  const views = batches.withStrong(weak);
  const cut = cutSoftLabels(batches, softLabels, weak);
  const masked = choices.maskedWeight > 0
    ? { masked: maskedView(batches, weak, views.strong, choices) }
    : {};
  const [, classes = 0] = cut.shape;
  const mixed = choices.mix === "classes"
    ? await mixClasses(batches, source, weak, classes, choices.studentView)
    : null;
  if (mixed?.strong) views.strong.release();
  return {
    source,
    target: {
      ...views,
      ...(mixed ? { pasted: mixed.pasted, strong: mixed.strong ?? views.strong } : {}),
      softLabels: cut,
      ...masked,
      ...(choices.encoderView === "whole" ? { whole: wholeImages(batches, weak) } : {}),
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
  softLabels: SoftLabelStore,
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
