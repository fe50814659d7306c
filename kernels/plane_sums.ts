// Sums over planes (one channel of one image) in a fixed order; the formulas are in the WGSL.

import { type Normalisation, planeSizes } from "./plane_maps.ts";
import { sliceByPlane } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import { dotsOfPlanes, momentsOfPlanes, sumsOfPlanes } from "./sets.ts";
import source from "./plane_sums.wgsl" with { type: "text" };

/** Elements that an invocation adds before a second one is worth its cost. */
const SHORTEST_CHUNK = 512;
/** Most parts of a plane: few enough for one invocation to add. */
const MOST_LANES = 64;

const shared = {
  file: "kernels/plane_sums.wgsl",
  source,
  params: {
    planes: "u32",
    plane: "u32",
    lanes: "u32",
    chunk: "u32",
    first: "u32",
    rows: "u32",
    relu: "u32",
  },
} as const;
const moments = defineKernel({
  ...shared,
  name: "planes.moments",
  entry: "moments",
  reads: ["x"],
  writes: ["parts"],
});
const sums = defineKernel({
  ...shared,
  name: "planes.sums",
  entry: "sums",
  reads: ["gradOutput", "x", "coefficients"],
  writes: ["parts"],
});
const dots = defineKernel({
  ...shared,
  name: "planes.dots",
  entry: "dots",
  reads: ["gradOutput", "x"],
  writes: ["parts"],
});
const totalMoments = defineKernel({
  ...shared,
  name: "planes.total_moments",
  entry: "total_moments",
  reads: ["parts"],
  writes: ["totals"],
});
const totalSums = defineKernel({
  ...shared,
  name: "planes.total_sums",
  entry: "total_sums",
  reads: ["parts"],
  writes: ["totals"],
});
const totalDots = defineKernel({
  ...shared,
  name: "planes.total_dots",
  entry: "total_dots",
  reads: ["parts"],
  writes: ["dotTotals"],
});

/** Params of both passes over planes [planes, ...]. */
function paramsFor(x: GpuArray, first = 0, rows = 1, relu = false) {
  const [planes = 0] = x.shape;
  const plane = x.size / Math.max(1, planes);
  const lanes = Math.ceil(plane / Math.max(SHORTEST_CHUNK, Math.ceil(plane / MOST_LANES)));
  const chunk = Math.ceil(plane / Math.max(1, lanes));
  return { planes, plane, lanes, chunk, first, rows, relu: Number(relu) };
}

/** What the first pass writes: the totals themselves where a plane has but one part. */
function partsOf(totals: GpuArray, lanes: number): GpuArray {
  if (lanes === 1) return totals.retain();
  return totals.gpu.empty([totals.size / 2, lanes, 2], "parts of plane sums");
}

/**
 * Mean and sum of squared deviations of every plane.
 *
 * @param x [N, C, ...], planes not empty.
 * @returns [N, C, 2]: (mean, Σ (x - mean)²).
 */
export function planeMoments(x: GpuArray): GpuArray {
  const { images, channels } = planeSizes("planes.moments", x);
  const output = x.gpu.empty([images, channels, 2], "planes.moments");
  if (x.gpu.kernelClass === "shared") {
    momentsOfPlanes(x, output);
    return output;
  }
  sliceByPlane([x], [output], ([x], [totals]) => {
    const params = paramsFor(x);
    const { planes, lanes } = params;
    using parts = partsOf(totals, lanes);
    dispatch(moments, { x, parts }, params, planes * lanes);
    if (lanes > 1) dispatch(totalMoments, { parts, totals }, params, planes);
  });
  return output;
}

/**
 * What the gradient of a normalisation needs of every plane.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The input of the forward, [N, C, ...].
 * @returns [N, C, 2]: (Σ g, Σ g (x - centre)), g the gradient as far as the ReLU let it through.
 */
export function planeSums(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, relu }: Normalisation,
): GpuArray {
  const { images, channels } = planeSizes("planes.sums", x);
  const output = x.gpu.empty([images, channels, 2], "planes.sums");
  if (x.gpu.kernelClass === "shared") {
    sumsOfPlanes(gradOutput, x, { coefficients, relu }, output);
    return output;
  }
  const rows = coefficients.size / 4;
  sliceByPlane([gradOutput, x], [output], ([gradOutput, x], [totals], first) => {
    const params = paramsFor(x, first, rows, relu);
    const { planes, lanes } = params;
    using parts = partsOf(totals, lanes);
    dispatch(sums, { gradOutput, x, coefficients, parts }, params, planes * lanes);
    if (lanes > 1) dispatch(totalSums, { parts, totals }, params, planes);
  });
  return output;
}

/**
 * Gradient of `multiplyPlanes` to its factors: Σ gradOutput x over every plane.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x [N, C, ...].
 * @returns [N, C].
 */
export function planeDots(gradOutput: GpuArray, x: GpuArray): GpuArray {
  const { images, channels } = planeSizes("planes.dots", x);
  const output = x.gpu.empty([images, channels], "planes.dots");
  if (x.gpu.kernelClass === "shared") {
    dotsOfPlanes(gradOutput, x, output);
    return output;
  }
  sliceByPlane([gradOutput, x], [output], ([gradOutput, x], [dotTotals]) => {
    const params = paramsFor(x);
    const { planes, lanes } = params;
    using parts = x.gpu.empty([planes, lanes, 2], "parts of plane sums");
    dispatch(dots, { gradOutput, x, parts }, params, planes * lanes);
    dispatch(totalDots, { parts, dotTotals }, params, planes);
  });
  return output;
}
