// Batches of stages 2 and 3.

import { warpLabelMaps, warpLabels } from "../../../kernels/warp.ts";
import { quarterOf } from "../common/batch.ts";
import type { Batches } from "../common/batches.ts";
import type { DistilBatch } from "./distil.ts";

/** A batch of labelled source images, and of target images in two views with their pseudo labels. */
export async function nextDistilBatch(batches: Batches): Promise<DistilBatch> {
  const { view: { crop } } = batches.options;
  const weak = await batches.nextTarget();
  const source = await batches.nextSource({ beside: weak.samples });
  const views = batches.withStrong(weak);
  using packed = batches.packLabels(weak.samples);
  using weakLabels = warpLabels(packed, weak.views.map((view) => view.imageView()), crop);
  const quarter = quarterOf(crop);
  const toQuarter = views.strongViews.map((view) => view.mapView(crop, quarter));
  return {
    source,
    target: { ...views, labels: warpLabelMaps(weakLabels, toQuarter, quarter) },
  };
}
