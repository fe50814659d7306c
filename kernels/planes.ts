// What the launchers over planes share; a plane is one channel of one image.

import {
  type AnyArray,
  formatShape,
  type GpuArray,
  type Grid,
  gridFor,
  type Kernel,
  MAX_GROUPS,
  type RunRange,
  sliceByImage,
} from "./runtime/mod.ts";

/** Height and width in pixels. */
export interface Size {
  /** Rows. */
  readonly height: number;
  /** Pixels a row. */
  readonly width: number;
}

/** Lengths of the axes of [N, C, H, W]. */
export interface ImageSizes extends Size {
  /** N. */
  readonly images: number;
  /** C. */
  readonly channels: number;
}

/**
 * Lengths of the axes of [N, C, H, W].
 *
 * @param action What is about to run, for the error.
 * @throws {TypeError} If the array has another number of axes.
 */
export function imageSizes(action: string, x: GpuArray): ImageSizes {
  const [images, channels, height, width] = x.shape;
  if (
    x.shape.length !== 4 || images === undefined || channels === undefined ||
    height === undefined || width === undefined
  ) {
    throw new TypeError(
      `Cannot run ${action} as it takes [N, C, H, W]: "${x.label}" is ${formatShape(x.shape)}`,
    );
  }
  return { images, channels, height, width };
}

/**
 * Lengths of the axes of [N, H, W].
 *
 * @param action What is about to run, for the error.
 * @throws {TypeError} If the array has another number of axes.
 */
export function labelSizes(action: string, labels: AnyArray): Omit<ImageSizes, "channels"> {
  const [images, height, width] = labels.shape;
  if (
    labels.shape.length !== 3 || images === undefined || height === undefined || width === undefined
  ) {
    throw new TypeError(
      `Cannot run ${action} as it takes [N, H, W]: "${labels.label}" is ${
        formatShape(labels.shape)
      }`,
    );
  }
  return { images, height, width };
}

/** Checks a height and width. @throws {RangeError} If one is not a whole number of at least 1. */
export function checkSize(action: string, { height, width }: Size): void {
  if (![height, width].every((length) => Number.isSafeInteger(length) && length > 0)) {
    throw new RangeError(
      `Cannot run ${action} as height and width must be whole numbers of at least 1: they are ${height} and ${width}`,
    );
  }
}

/** `sliceByImage` for kernels that treat every plane alike: [N, C, ...] arrive as [planes, ...]. */
export function sliceByPlane<
  const I extends readonly AnyArray[],
  const O extends readonly AnyArray[],
>(inputs: I, outputs: O, run: RunRange<I, O>): void {
  const planes = (array: AnyArray) => {
    const [images = 1, channels = 1, ...rest] = array.shape;
    return array.view([images * channels, ...rest]);
  };
  const inputPlanes = inputs.map(planes) as unknown as I;
  const outputPlanes = outputs.map(planes) as unknown as O;
  sliceByImage(inputPlanes, outputPlanes, run);
  for (const array of [...inputPlanes, ...outputPlanes]) array.release();
}

/** Planes that one invocation goes through, at most. */
const LONGEST_RUN = 16;
/** Invocations that keep a GPU busy. */
const ENOUGH_INVOCATIONS = 65536;

/**
 * Spreads the elements of an array for kernels that work out once where a pixel lies, and then go
 * through several planes there, as that takes longer than what they do in one plane: pixels in x
 * and y of the grid, runs of planes in z.
 *
 * @param owned The array whose every element has an owner, [planes, H, W].
 * @returns The grid, and how many planes an invocation owns.
 */
export function spreadPlanes(kernel: Kernel, owned: AnyArray): { grid: Grid; run: number } {
  const [planes = 0, height = 0, width = 0] = owned.shape;
  const busy = Math.floor(owned.size / ENOUGH_INVOCATIONS);
  const run = Math.max(1, Math.ceil(planes / MAX_GROUPS), Math.min(busy, LONGEST_RUN));
  const [x, y] = gridFor(height * width, kernel.workgroupSize);
  return { grid: [x, y, Math.ceil(planes / run)], run };
}
