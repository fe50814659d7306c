// Distance of features to constant ones; the formula is in the WGSL.

import { checkPixels, checkShape, emptyTerms, mapSizes } from "./class_map.ts";
import {
  type AnyArray,
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByImage,
} from "./runtime/mod.ts";
import { type WeightedMean, weightedMean } from "./weighted_mean.ts";
import source from "./feature_distance.wgsl" with { type: "text" };

const shared = {
  file: "kernels/feature_distance.wgsl",
  source,
  params: { images: "u32", channels: "u32", plane: "u32", runs: "u32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "feature_distance.forward",
  entry: "forward",
  reads: ["features", "anchors", "mask"],
  writes: ["terms"],
});
const backward = defineKernel({
  ...shared,
  name: "feature_distance.backward",
  entry: "backward",
  reads: ["features", "anchors", "mask", "gradOutput", "weight"],
  writes: ["gradFeatures"],
});

/**
 * Mean over the pixels whose mask is not zero of the Euclidean distance of features to constant ones
 * (DAFormer, equations 6 and 7).
 *
 * @param features [N, C, H, W].
 * @param anchors [N, C, H, W].
 * @param mask [N, H, W], floats or integers.
 * @throws {TypeError} If the shapes do not fit.
 */
export function featureDistanceForward(
  features: GpuArray,
  anchors: GpuArray,
  mask: AnyArray,
): WeightedMean {
  const { images, classes: channels, plane } = mapSizes("feature_distance", features);
  checkShape("feature_distance", anchors, features.shape);
  checkPixels("feature_distance", features, mask);
  const { terms, runs } = emptyTerms(features, images, plane);
  sliceByImage([features, anchors, mask], [terms], ([features, anchors, mask], [terms]) => {
    const images = terms.shape[0];
    dispatch(
      forward,
      { features, anchors, mask, terms },
      { images, channels, plane, runs },
      images * runs,
    );
  });
  return weightedMean(terms);
}

/**
 * Gradient of {@link featureDistanceForward} to the features; `weight` is what the forward returned.
 */
export function featureDistanceBackward(
  gradOutput: GpuArray,
  features: GpuArray,
  anchors: GpuArray,
  mask: AnyArray,
  weight: GpuArray,
): GpuArray {
  const { classes: channels, plane } = mapSizes("feature_distance", features);
  const gradFeatures = features.gpu.empty(features.shape, "gradient of feature_distance");
  sliceByImage(
    [features, anchors, mask],
    [gradFeatures],
    ([features, anchors, mask], [gradFeatures]) => {
      const images = features.shape[0];
      dispatch(
        backward,
        { features, anchors, mask, gradOutput, weight, gradFeatures },
        { images, channels, plane, runs: 0 },
        images * plane,
      );
    },
  );
  return gradFeatures;
}
