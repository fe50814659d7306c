// Class centroids from sums of features; the formulas are in the WGSL.

import { checkShape } from "./class_map.ts";
import type { ClassSums } from "./class_sums.ts";
import { defineKernel, dispatch, formatShape, type GpuArray } from "./runtime/mod.ts";
import source from "./centroids.wgsl" with { type: "text" };

const shared = {
  file: "kernels/centroids.wgsl",
  source,
  params: {
    images: "u32",
    classes: "u32",
    channels: "u32",
    minimumPixels: "f32",
    perImage: "u32",
    rate: "f32",
    zero: "u32",
    most: "f32",
  },
} as const;
const accumulate = defineKernel({
  ...shared,
  name: "centroids.accumulate",
  entry: "accumulate",
  reads: ["sums", "counts"],
  writes: ["state"],
});
const mean = defineKernel({
  ...shared,
  name: "centroids.mean",
  entry: "mean",
  reads: ["totals"],
  writes: ["prototypes"],
});
const update = defineKernel({
  ...shared,
  name: "centroids.update",
  entry: "update",
  reads: ["sums", "counts"],
  writes: ["prototypes"],
});

const running = defineKernel({
  ...shared,
  name: "centroids.running",
  entry: "running",
  reads: ["sums", "counts", "seen"],
  writes: ["prototypes"],
});
const count = defineKernel({
  ...shared,
  name: "centroids.count",
  entry: "count",
  reads: ["sums", "counts"],
  writes: ["numbers"],
});

/** Parameters that an entry does not use. */
const UNUSED = { images: 0, minimumPixels: 0, perImage: 0, rate: 0, zero: 0, most: 0 };

/** How the class sums of a batch become a mean. */
export interface CentroidOptions {
  /** A class with fewer pixels in an image is skipped in that image. */
  readonly minimumPixels: number;
  /** Whether each image counts alike, in turn, instead of each pixel. */
  readonly perImage: boolean;
}

/**
 * Adds a batch to the totals of a mean over many batches, in place, without losing digits to their
 * number.
 *
 * @param state [K, C + 1, 2], zeros to begin with.
 * @throws {TypeError} If the shapes do not fit.
 */
export function accumulateCentroids(
  state: GpuArray,
  { sums, counts }: ClassSums,
  { minimumPixels, perImage }: CentroidOptions,
): void {
  const { images, classes, channels } = sizesOf(sums, counts);
  checkShape("centroids", state, [classes, channels + 1, 2]);
  dispatch(
    accumulate,
    { sums, counts, state },
    { ...UNUSED, images, classes, channels, minimumPixels, perImage: Number(perImage) },
    classes * (channels + 1),
  );
}

/**
 * Overwrites prototypes with the mean of what was accumulated (equation 4), in place; a class that
 * no batch had keeps its prototype.
 *
 * @param prototypes [K, C].
 * @param state [K, C + 1, 2].
 * @throws {TypeError} If the shapes do not fit.
 */
export function meanCentroids(prototypes: GpuArray, state: GpuArray): void {
  const [classes, channels] = prototypes.shape;
  checkShape("centroids", state, [classes, channels + 1, 2]);
  dispatch(
    mean,
    { totals: state, prototypes },
    { ...UNUSED, classes, channels },
    prototypes.size,
  );
}

/**
 * Moves prototypes towards the class means of a batch (equation 5), in place:
 * η ← decay η + (1 − decay) η', once, or once for every image where `perImage` is set.
 *
 * @param prototypes [K, C].
 * @param options.decay λ, the weight of the old value.
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the decay lies outside [0, 1].
 */
export function updateCentroids(
  prototypes: GpuArray,
  { sums, counts }: ClassSums,
  { decay, minimumPixels, perImage }: CentroidOptions & { readonly decay: number },
): void {
  const { images, classes, channels } = sizesOf(sums, counts);
  checkShape("centroids", prototypes, [classes, channels]);
  if (!(decay >= 0 && decay <= 1)) {
    throw new RangeError(
      `Cannot update prototypes as the decay must lie in [0, 1]: it is ${decay}`,
    );
  }
  dispatch(
    update,
    { sums, counts, prototypes },
    {
      ...UNUSED,
      images,
      classes,
      channels,
      minimumPixels,
      perImage: Number(perImage),
      rate: 1 - decay,
    },
    prototypes.size,
  );
}

/**
 * Takes the class means of images, one after the other, into a running mean, in place:
 * η ← (n η + mean) / (n + 1), in which n, the number of images before, grows to `most` only.
 *
 * @param prototypes [K, C].
 * @param numbers n of each class, [K]; zeros to begin with.
 * @param options.minimumPixels A class with fewer pixels in an image is skipped in that image.
 * @throws {TypeError} If the shapes do not fit.
 */
export function runningCentroids(
  prototypes: GpuArray,
  numbers: GpuArray,
  { sums, counts }: ClassSums,
  { minimumPixels, most }: { readonly minimumPixels: number; readonly most: number },
): void {
  const { images, classes, channels } = sizesOf(sums, counts);
  checkShape("centroids", prototypes, [classes, channels]);
  checkShape("centroids", numbers, [classes]);
  const params = { ...UNUSED, images, classes, channels, minimumPixels, perImage: 1, most };
  dispatch(running, { sums, counts, seen: numbers, prototypes }, params, prototypes.size);
  dispatch(count, { sums, counts, numbers }, params, classes);
}

function sizesOf(sums: GpuArray, counts: GpuArray) {
  const [images, classes, channels] = sums.shape;
  if (sums.shape.length !== 3) {
    throw new TypeError(
      `Cannot run centroids as class sums must be [N, K, C]: "${sums.label}" is ${
        formatShape(sums.shape)
      }`,
    );
  }
  checkShape("centroids", counts, [images, classes]);
  return { images, classes, channels };
}
