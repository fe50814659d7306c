// Class mix in stage 1: source pixels in the view that target labels are learnt on (DACS, Tranheden et
// al., 2021, after ClassMix, Olsson et al., 2021).

import {
  chooseClasses,
  mixImages,
  pasteLabels,
  pasteProbabilities,
  pasteValue,
} from "../../../kernels/class_mix.ts";
import type { Size } from "../../../kernels/planes.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { warpLabelMaps } from "../../../kernels/warp.ts";
import { fullView } from "../../views/views.ts";
import type { SourceBatch, TargetViews } from "../common/batch.ts";
import type { Batches, WeakViews } from "../common/batches.ts";
import type { DenoiseChoices } from "./settings.ts";
import { sizeOf } from "./sight.ts";

/** Source pixels in the view that labels are learnt on. */
export interface Pasted {
  /** Their labels in the frame of the weak view, [N, H, W]; `IGNORE` where nothing is pasted. */
  readonly labels: GpuArray<"u32">;
  /** The weak view with them, [N, 3, H, W], where labels are learnt on it; else the strong view has them. */
  readonly weak?: GpuArray;
}

/**
 * Pastes half of the classes of each source image, drawn anew for each pair, onto the weak view of the
 * target image of the same place in the batch. A strong view is then made of what has been mixed, as in
 * DACS, where colours are changed after mixing.
 *
 * @param weak The weak views, and what they show; they stay as they are.
 * @param classes K.
 * @param studentView The view that labels are learnt on.
 * @returns What takes the place of a strong view, or null; both are the caller's to release.
 */
export async function mixClasses(
  batches: Batches,
  source: SourceBatch,
  weak: WeakViews,
  classes: number,
  studentView: DenoiseChoices["studentView"],
): Promise<{ readonly pasted: Pasted; readonly strong: GpuArray | null }> {
  const { gpu } = batches.options;
  const drawn = weak.samples.flatMap((sample) => {
    const random = batches.random(sample, "mix");
    return Array.from({ length: classes }, () => random.uint32());
  });
  using keys = gpu.upload(Uint32Array.from(drawn), [weak.samples.length, classes], "keys");
  using chosen = chooseClasses(source.labels, keys);
  const { mixed, pasted: labels } = mixImages(source, weak.images, chosen);
  if (studentView === "weak") return { pasted: { labels, weak: mixed }, strong: null };
  const strong = await batches.strongOf(weak, mixed);
  mixed.release();
  return { pasted: { labels }, strong };
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
