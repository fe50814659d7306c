// Masked images in stage 1 (MIC: masked image consistency, Hoyer et al., 2023).

import { hidePatches, patchesOf } from "../../../kernels/hide_patches.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import type { Batches, WeakViews } from "../common/batches.ts";
import type { DenoiseChoices } from "./settings.ts";
import { sizeOf } from "./sight.ts";

/**
 * Images of which patches are 0, drawn anew for each: a patch is kept where v > r, v ~ U(0, 1) (MIC,
 * equations 4 and 5).
 *
 * @param images [N, 3, H, W], colours changed as they are to be; they stay the caller's.
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
