// Maps with numbers of their own for every plane (one channel of one image): the passes over whole
// tensors that normalisations, dropout and squeeze-excite share. The formulas are in the WGSL.

import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Grid,
  sameShape,
  sliceByImage,
} from "./runtime/mod.ts";
import { RUN, strideFor, WORKGROUP_SIZE } from "./spread.ts";
import source from "./plane_maps.wgsl" with { type: "text" };

const shared = {
  file: "kernels/plane_maps.wgsl",
  source,
  writes: ["y"],
  params: { channels: "u32", plane: "u32", stride: "u32", rowsPerImage: "u32", relu: "u32" },
} as const;
const multiply = defineKernel({
  ...shared,
  name: "planes.multiply",
  entry: "multiply",
  reads: ["x", "factor"],
});
const normalise = defineKernel({
  ...shared,
  name: "planes.normalise",
  entry: "normalise",
  reads: ["x", "coefficients"],
});
const gradient = defineKernel({
  ...shared,
  name: "planes.gradient",
  entry: "gradient",
  reads: ["gradOutput", "x", "coefficients", "slopes"],
});

/** Sizes of a tensor as planes. */
export interface PlaneSizes {
  /** N, the first axis. */
  readonly images: number;
  /** C, the second axis. */
  readonly channels: number;
  /** Elements of one plane: the product of the other axes, 1 for [N, C]. */
  readonly plane: number;
}

/** Reads [N, C, ...] as planes. @throws {TypeError} If there is no channel axis. */
export function planeSizes(name: string, { shape, size }: GpuArray): PlaneSizes {
  const [images, channels] = shape;
  if (images === undefined || channels === undefined) {
    throw new TypeError(
      `Cannot run ${name} as its input must be [N, C, ...]: it is ${formatShape(shape)}`,
    );
  }
  return { images, channels, plane: size / Math.max(1, images * channels) };
}

/** What every pass over whole tensors of a normalisation needs. */
export interface Normalisation {
  /** (center, scale, shift, reciprocal deviation) a plane: [N, C, 4], or [1, C, 4] for all images. */
  readonly coefficients: GpuArray;
  /** Whether a ReLU follows. */
  readonly relu: boolean;
}

/** The array where images have rows of their own in it, to be split with them; else nothing. */
export function ownRows(array: GpuArray): GpuArray[] {
  return array.shape[0] === 1 ? [] : [array];
}

function run(x: GpuArray, { channels, plane }: PlaneSizes, rows: GpuArray, relu: boolean) {
  const rowsPerImage = rows.shape[0] === 1 ? 0 : channels;
  const grid: Grid = [Math.ceil(plane / (WORKGROUP_SIZE * RUN)), channels, x.shape[0]];
  return [
    { channels, plane, stride: strideFor(x.gpu), rowsPerImage, relu: Number(relu) },
    grid,
  ] as const;
}

/**
 * Every plane times its own factor.
 *
 * @param x [N, C, ...].
 * @param factor [N, C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function multiplyPlanes(x: GpuArray, factor: GpuArray): GpuArray {
  const sizes = planeSizes("multiplyPlanes", x);
  const expected = [sizes.images, sizes.channels];
  if (!sameShape(factor.shape, expected)) {
    throw new TypeError(
      `Cannot run multiplyPlanes as the factors must be ${formatShape(expected)}: they are ${
        formatShape(factor.shape)
      }`,
    );
  }
  const output = x.gpu.empty(x.shape, "planes.multiply");
  sliceByImage([x, factor], [output], ([x, factor], [y]) => {
    dispatch(multiply, { x, factor, y }, ...run(x, sizes, factor, false));
  });
  return output;
}

/** `(x - center) * scale + shift`, every plane with its own coefficients, then ReLU if asked. */
export function normalisePlanes(x: GpuArray, { coefficients, relu }: Normalisation): GpuArray {
  const sizes = planeSizes("normalisePlanes", x);
  const output = x.gpu.empty(x.shape, "planes.normalise");
  sliceByImage([x, ...ownRows(coefficients)], [output], ([x, own = coefficients], [y]) => {
    dispatch(normalise, { x, coefficients: own, y }, ...run(x, sizes, own, relu));
  });
  return output;
}

/**
 * `g * scale + (x - center) * slope + offset`, the gradient of a normalisation to its input, where g
 * is `gradOutput` as far as the ReLU let it through.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The input of the forward, [N, C, ...].
 * @param slopes (slope, offset) a plane: [N, C, 2], or [1, C, 2], as the coefficients.
 */
export function normalisePlanesBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, relu }: Normalisation,
  slopes: GpuArray,
): GpuArray {
  const sizes = planeSizes("normalisePlanesBackward", x);
  const output = x.gpu.empty(x.shape, "planes.gradient");
  sliceByImage(
    [gradOutput, x, ...ownRows(coefficients), ...ownRows(slopes)],
    [output],
    ([gradOutput, x, own = coefficients, ownSlopes = slopes], [y]) => {
      const arrays = { gradOutput, x, coefficients: own, slopes: ownSlopes, y };
      dispatch(gradient, arrays, ...run(x, sizes, own, relu));
    },
  );
  return output;
}
