// Class mix in stage 1: what source pixels change in what a view is learnt by (DACS, Tranheden et al.,
// 2021, after ClassMix, Olsson et al., 2021).

import { pasteLabels, pasteProbabilities, pasteValue } from "../../../kernels/class_mix.ts";
import type { Size } from "../../../kernels/planes.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { warpLabelMaps } from "../../../kernels/warp.ts";
import { fullView } from "../../views/views.ts";
import type { TargetViews } from "../common/batch.ts";
import type { DenoiseChoices } from "./settings.ts";
import { sizeOf } from "./sight.ts";

/** Source pixels in the view that labels are learnt on. */
export interface Pasted {
  /** Their labels in the frame of the weak view, [N, H, W]; `IGNORE` where nothing is pasted. */
  readonly labels: GpuArray<"u32">;
  /** The weak view with them, [N, 3, H, W], where labels are learnt on it; else the strong view has them. */
  readonly weak?: GpuArray;
}

/** What target pixels are learnt by, at a quarter of the size of the view. */
interface Learnt {
  readonly labels: GpuArray<"u32">;
  readonly soft: GpuArray | null;
  /** What the losses of labels are multiplied by; null for 1. */
  readonly weights: GpuArray | null;
  /** Not zero where the structure loss compares views. */
  readonly mask: GpuArray;
}

/**
 * What a mixed view is learnt by: source labels where something is pasted, sure as they are, with the
 * weight 1. In the strong view such pixels are none that the weak one sees too.
 *
 * @param learnt What the target alone is learnt by; it is taken over.
 * @param pasted In the same view, as {@link pastedIn} says.
 */
export function withPasted<T extends Learnt>(
  learnt: T,
  pasted: GpuArray<"u32">,
  studentView: DenoiseChoices["studentView"],
): T {
  const { labels, soft, weights, mask } = learnt;
  const changed: Learnt = {
    labels: pasteLabels(pasted, labels),
    soft: soft && pasteProbabilities(pasted, soft),
    weights: weights && pasteValue(pasted, weights, 1),
    mask: studentView === "strong" ? pasteValue(pasted, mask, 0) : mask.retain(),
  };
  for (const array of [labels, soft, weights, mask]) array?.release();
  return { ...learnt, ...changed };
}

/** Pasted labels in the view that labels are learnt on, of another size: the nearest ones, [N, h, w]. */
export function pastedIn(
  studentView: DenoiseChoices["studentView"],
  { labels }: Pasted,
  { weak, strongViews }: Pick<TargetViews, "weak" | "strongViews">,
  size: Size,
): GpuArray<"u32"> {
  const crop = sizeOf(weak);
  const views = strongViews.map((view) => studentView === "strong" ? view : fullView(crop));
  return warpLabelMaps(labels, views.map((view) => view.mapView(crop, size)), size);
}
