// Sums of features by class; the passes are in the WGSL.

import { checkPixels, mapSizes } from "./class_map.ts";
import {
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByImage,
  wgslConstants,
} from "./runtime/mod.ts";
import source from "./class_sums.wgsl" with { type: "text" };

/** Pixels that one invocation adds up, at least. */
const PIXELS_PER_RUN = 128;

const shared = { file: "kernels/class_sums.wgsl", source } as const;
const { CHANNELS, CLASSES } = wgslConstants(shared, "CHANNELS", "CLASSES");
const partial = defineKernel({
  ...shared,
  name: "class_sums.partial",
  entry: "partial",
  reads: ["features", "labels"],
  writes: ["partialSums", "partialCounts"],
  params: { images: "u32", channels: "u32", classes: "u32", plane: "u32", runs: "u32" },
});
const combine = defineKernel({
  ...shared,
  name: "class_sums.combine",
  entry: "combine",
  reads: ["partials"],
  writes: ["totals"],
  params: { images: "u32", runs: "u32", width: "u32" },
  paramsVariable: "combine_params",
});

/** Features summed by image and class. */
export interface ClassSums {
  /** [N, K, C]. */
  readonly sums: GpuArray;
  /** Number of pixels, [N, K]. */
  readonly counts: GpuArray;
}

/**
 * Sums of features over the pixels of each image and class, and the number of those pixels.
 *
 * @param features [N, C, H, W].
 * @param labels [N, H, W]; labels from `classes` up, the ignore label among them, add to nothing.
 * @param classes K.
 * @throws {TypeError} If the shapes do not fit.
 */
export function classSums(
  features: GpuArray,
  labels: GpuArray<"u32">,
  classes: number,
): ClassSums {
  const { images, classes: channels, plane } = mapSizes("class_sums", features);
  checkPixels("class_sums", features, labels);
  const { gpu } = features;
  const sums = gpu.empty([images, classes, channels], "class sums");
  const counts = gpu.empty([images, classes], "class counts");
  // Runs of at least 2 K pixels keep the partial sums of an image smaller than its features.
  const runs = Math.ceil(plane / Math.max(PIXELS_PER_RUN, 2 * classes));
  sliceByImage([features, labels], [sums, counts], ([features, labels], [sums, counts]) => {
    const images = features.shape[0];
    const partialSums = gpu.empty([images, runs, classes, channels], "partial class sums");
    const partialCounts = gpu.empty([images, runs, classes], "partial class counts");
    dispatch(
      partial,
      { features, labels, partialSums, partialCounts },
      { images, channels, classes, plane, runs },
      [
        Math.ceil(images * runs / partial.workgroupSize),
        Math.ceil((channels + 1) / CHANNELS), // one more counts the pixels
        Math.ceil(classes / CLASSES),
      ],
      { flops: 2 * features.size * classes },
    );
    addRuns(partialSums, sums, runs);
    addRuns(partialCounts, counts, runs);
  });
  return { sums, counts };
}

/** Adds partials [N, runs, …] up to totals [N, …], and releases them. */
function addRuns(partials: GpuArray, totals: GpuArray, runs: number): void {
  const images = totals.shape[0];
  dispatch(
    combine,
    { partials, totals },
    { images, runs, width: totals.size / images },
    totals.size,
  );
  partials.release();
}
