// Views of target images that later work adds to stage 1: mixed ones (DACS, Tranheden et al., 2021) and
// masked ones (MIC: masked image consistency, Hoyer et al., 2023).

import { chooseClasses, mixImages } from "../../../kernels/class_mix.ts";
import { hidePatches, patchesOf } from "../../../kernels/hide_patches.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import type { SourceBatch } from "../common/batch.ts";
import type { Batches, WeakViews } from "../common/batches.ts";
import type { Pasted } from "./class_mix.ts";
import type { DenoiseChoices } from "./settings.ts";
import { sizeOf } from "./sight.ts";

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

/**
 * Images of which patches are 0, drawn anew for each: a patch is kept where v > r, v ~ U(0, 1)
 * (MIC, section 3.2). Colours and geometry have been changed before.
 *
 * @param images [N, 3, H, W]; they stay the caller's.
 * @param samples What each of them shows.
 */
export function maskedView(
  batches: Batches,
  { samples }: Pick<WeakViews, "samples">,
  images: GpuArray,
  { maskRatio, maskBlock }: Pick<DenoiseChoices, "maskRatio" | "maskBlock">,
): GpuArray {
  const { height, width } = patchesOf(sizeOf(images), maskBlock);
  const drawn = samples.flatMap((sample) => {
    const random = batches.random(sample, "masked");
    return Array.from({ length: height * width }, () => random.uniform() > maskRatio ? 1 : 0);
  });
  const shape = [samples.length, height, width];
  using kept = batches.options.gpu.upload(Uint32Array.from(drawn), shape, "kept patches");
  return hidePatches(images, kept, maskBlock);
}
