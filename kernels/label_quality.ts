// The quality of images' pseudo labels; the formula is in the WGSL.

import { labelSizes } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./label_quality.wgsl" with { type: "text" };

const measure = defineKernel({
  name: "label_quality",
  file: "kernels/label_quality.wgsl",
  source,
  entry: "measure",
  reads: ["confidence"],
  writes: ["quality"],
  params: { plane: "u32", threshold: "f32" },
});

/**
 * The share of an image's pixels that are surer than a threshold, at each of its pixels, [N, H, W]
 * (DAFormer, Hoyer et al., 2022, equation 3).
 *
 * @param confidence Of the pseudo labels, [N, H, W]; 0 outside the image, which counts for nothing.
 * @param threshold τ, 0.968 as published.
 * @throws {TypeError} If `confidence` has another number of axes.
 */
export function labelQuality(confidence: GpuArray, threshold: number): GpuArray {
  const { height, width } = labelSizes("label_quality", confidence);
  const quality = confidence.gpu.empty(confidence.shape, "quality of labels");
  sliceByImage([confidence], [quality], ([confidence], [quality]) => {
    const params = { plane: height * width, threshold };
    dispatch(measure, { confidence, quality }, params, [quality.shape[0] ?? 0]);
  });
  return quality;
}
