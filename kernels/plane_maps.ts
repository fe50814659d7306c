// Maps with numbers of their own for every plane (one channel of one image): the passes over whole
// tensors that normalisations, dropout and squeeze-excite share. The formulas are in the WGSL.

import { sliceByPlane } from "./planes.ts";
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Kernel,
  sameShape,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./plane_maps.wgsl" with { type: "text" };

const shared = {
  file: "kernels/plane_maps.wgsl",
  source,
  writes: ["y"],
  params: {
    planes: "u32",
    plane: "u32",
    lanes: "u32",
    run: "u32",
    stride: "u32",
    first: "u32",
    rows: "u32",
    relu: "u32",
  },
} as const;
const multiply = defineKernel({
  ...shared,
  name: "planes.multiply",
  entry: "multiply",
  reads: ["x", "factor"],
});
const normalisation = (name: string, constants: Readonly<Record<string, number>>) =>
  defineKernel({
    ...shared,
    name,
    entry: "normalise",
    reads: ["x", "coefficients", "residual"],
    constants,
  });
const normalise = normalisation("planes.normalise", {});
const normaliseResidual = normalisation("planes.normalise_residual", { WITH_RESIDUAL: 1 });
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
  /** (centre, scale, shift, reciprocal deviation) for each plane, [N, C, 4], or channel, [C, 4]. */
  readonly coefficients: GpuArray;
  /** Whether a ReLU follows. */
  readonly relu: boolean;
}

/**
 * Elements of one invocation where they are neighbours: its plane's numbers are read once for all.
 */
const LONGEST_RUN = 64;
/** Elements of one invocation where they lie apart. */
const SPREAD_RUN = 16;

/** Params and invocations for planes [planes, ...] that start at plane `first` of their tensor. */
function workOn(kernel: Kernel, x: GpuArray, first: number, rows: number, relu = false) {
  const [planes = 0] = x.shape;
  const plane = x.size / Math.max(1, planes);
  const stride = strideFor(kernel, x.gpu);
  const evenRun = Math.ceil(plane / Math.max(1, Math.ceil(plane / LONGEST_RUN)));
  const run = Math.max(1, stride === 1 ? evenRun : SPREAD_RUN);
  const lanes = Math.ceil(plane / (run * stride)) * stride;
  const params = { planes, plane, lanes, run, stride, first, rows, relu: Number(relu) };
  return [params, planes * lanes] as const;
}

/**
 * Every plane times its own factor.
 *
 * @param x [N, C, ...].
 * @param factor [N, C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function multiplyPlanes(x: GpuArray, factor: GpuArray): GpuArray {
  const { images, channels } = planeSizes("planes.multiply", x);
  if (!sameShape(factor.shape, [images, channels])) {
    throw new TypeError(
      `Cannot run planes.multiply as the factors must be [${images}, ${channels}]: they are ${
        formatShape(factor.shape)
      }`,
    );
  }
  const output = x.gpu.empty(x.shape, "planes.multiply");
  sliceByPlane([x], [output], ([x], [y], first) => {
    dispatch(multiply, { x, factor, y }, ...workOn(multiply, x, first, factor.size));
  });
  return output;
}

/**
 * `(x - centre) * scale + shift`, every plane with its own coefficients, plus the residual, if there
 * is one; then ReLU if asked.
 *
 * @param residual Of the shape of `x`.
 * @throws {TypeError} If it has another.
 */
export function normalisePlanes(
  x: GpuArray,
  { coefficients, relu }: Normalisation,
  residual: GpuArray | null = null,
): GpuArray {
  checkResidual(x, residual);
  const kernel = residual ? normaliseResidual : normalise;
  const output = x.gpu.empty(x.shape, "planes.normalise");
  const rows = coefficients.size / 4;
  const run = (x: GpuArray, residual: GpuArray, y: GpuArray, first: number) => {
    const arrays = { x, coefficients, residual, y };
    dispatch(kernel, arrays, ...workOn(kernel, x, first, rows, relu));
  };
  if (residual) {
    sliceByPlane([x, residual], [output], ([x, added], [y], first) => run(x, added, y, first));
  } else {
    sliceByPlane([x], [output], ([x], [y], first) => run(x, x, y, first)); // which it does not read
  }
  return output;
}

/** @throws {TypeError} If there is a residual of another shape than `x`. */
export function checkResidual(x: GpuArray, residual: GpuArray | null): void {
  if (residual && !sameShape(residual.shape, x.shape)) {
    throw new TypeError(
      `Cannot add a residual of ${formatShape(residual.shape)} to a normalised ${
        formatShape(x.shape)
      }: give it the same shape`,
    );
  }
}

/**
 * `g * scale + (x - centre) * slope + offset`, the gradient of a normalisation to its input, where
 * g is `gradOutput` as far as the ReLU let it through.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The input of the forward, [N, C, ...].
 * @param slopes (slope, offset) for each plane, [N, C, 2], or channel, [C, 2], as the coefficients.
 */
export function normalisePlanesBackward(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, relu }: Normalisation,
  slopes: GpuArray,
): GpuArray {
  const output = x.gpu.empty(x.shape, "planes.gradient");
  sliceByPlane([gradOutput, x], [output], ([gradOutput, x], [y], first) => {
    const arrays = { gradOutput, x, coefficients, slopes, y };
    dispatch(gradient, arrays, ...workOn(gradient, x, first, slopes.size / 2, relu));
  });
  return output;
}
