// Self-supervised pre-training in the registry, and its batches.

import { packImages, warpImages } from "../../../kernels/warp.ts";
import type { Batches, Domain } from "../common/batches.ts";
import type { PlanContext, StageKind } from "../common/kind.ts";
import { contrastPair } from "./contrast_views.ts";
import { type ContrastBatch, type ContrastViews, SelfSupervised } from "./self_supervised.ts";
import { SELF_SUPERVISED_SETTINGS, type SelfSupervisedSettings } from "./settings.ts";

/** Self-supervised pre-training of a backbone that students start from (SimCLR). */
export const selfSupervised = {
  summary: "self-supervised pre-training of the backbone that students start from",
  settings: SELF_SUPERVISED_SETTINGS,
  role: "pretraining",
  hasStrongViews: false,
  prepare: ({ name, options, createNetwork }) => ({
    stage: new SelfSupervised(createNetwork(), options, name),
    nextBatch: (batches) => nextContrastBatch(batches, options.places),
  }),
  plan: (context) => ({
    stage: new SelfSupervised(
      context.createNetwork({ init: "none" }),
      context.options,
      context.name,
    ),
    makeBatch: () => ({ source: plannedViews(context), target: plannedViews(context) }),
  }),
} as const satisfies StageKind<SelfSupervisedSettings, ContrastBatch>;

/**
 * A batch of views of both domains.
 *
 * @param places Places that are compared in an image; 0 compares whole images.
 */
export async function nextContrastBatch(batches: Batches, places: number): Promise<ContrastBatch> {
  return {
    source: await nextPairs(batches, "source", places),
    target: await nextPairs(batches, "target", places),
  };
}

async function nextPairs(batches: Batches, domain: Domain, places: number): Promise<ContrastViews> {
  const { gpu, view } = batches.options;
  const samples = await batches.nextSamples(domain);
  const images = samples.map(({ image }) => image);
  const pairs = samples.map((sample) =>
    contrastPair(batches.random(sample, domain), sample.image, view, places)
  );
  const sides = [0, 1] as const;
  const looks = sides.flatMap((side) =>
    pairs.map(({ views, colours }) => views[side].imageView(colours[side]))
  );
  using packed = packImages(gpu, [...images, ...images]);
  return {
    images: warpImages(packed, looks, view.crop),
    places: Float32Array.from(
      sides.flatMap((side) => pairs.flatMap(({ places }) => [...places[side]])),
    ),
  };
}

/** Two views of every image, and as many places as are compared. */
function plannedViews({ batches, options }: PlanContext<SelfSupervisedSettings>): ContrastViews {
  const count = 2 * batches.batch;
  return {
    images: batches.images(count),
    places: new Float32Array(count * options.places * 2),
  };
}
