// What the launchers over class maps share: checks of shapes, and the terms of a mean over pixels.

import { type AnyArray, formatShape, type GpuArray, sameShape, type Shape } from "./runtime/mod.ts";

/** Sizes of an array [N, K, H, W]. */
export interface MapSizes {
  /** N. */
  readonly images: number;
  /** K. */
  readonly classes: number;
  /** H. */
  readonly height: number;
  /** W. */
  readonly width: number;
  /** H W. */
  readonly plane: number;
}

/**
 * Sizes of an array [N, K, H, W].
 *
 * @param action What is about to run, for the error.
 * @throws {TypeError} If the array has another number of axes.
 */
export function mapSizes(action: string, map: GpuArray): MapSizes {
  if (map.shape.length !== 4) {
    throw new TypeError(
      `Cannot run ${action} as it takes [N, K, H, W]: "${map.label}" is ${formatShape(map.shape)}`,
    );
  }
  const [images, classes, height, width] = map.shape;
  return { images, classes, height, width, plane: height * width };
}

/** Checks that `pixels` is [N, H, W] of `map` [N, K, H, W]. @throws {TypeError} If it is not. */
export function checkPixels(action: string, map: GpuArray, pixels: AnyArray): void {
  const [images, , height, width] = map.shape;
  checkShape(action, pixels, [images, height, width]);
}

/** Checks the shape of an array. @throws {TypeError} If it has another. */
export function checkShape(action: string, array: AnyArray, expected: Shape): void {
  if (!sameShape(array.shape, expected)) {
    throw new TypeError(
      `Cannot run ${action} as "${array.label}" must be ${formatShape(expected)}: it is ${
        formatShape(array.shape)
      }`,
    );
  }
}

/** Pixels that one invocation adds up in the first pass of a mean. */
const PIXELS_PER_RUN = 8;

/** Room for the terms of a mean over pixels, [images, runs, 2]; for `weightedMean`. */
export function emptyTerms(
  source: AnyArray,
  images: number,
  plane: number,
): { terms: GpuArray; runs: number } {
  const runs = Math.ceil(plane / PIXELS_PER_RUN);
  return { terms: source.gpu.empty([images, runs, 2], "terms of a mean"), runs };
}
