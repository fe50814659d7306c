// Sums over planes (one channel of one image) in a fixed order; the formulas are in the WGSL.

import { type Normalisation, planeSizes } from "./plane_maps.ts";
import { sliceByPlane } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, gridFor } from "./runtime/mod.ts";
import { strideFor, WORKGROUP_SIZE } from "./spread.ts";
import source from "./plane_sums.wgsl" with { type: "text" };

/** Elements that an invocation adds before a second one is worth its cost. */
const SHORTEST_CHUNK = 64;
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
    stride: "u32",
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

/** Parts, params and the grids of both passes over planes [planes, ...]. */
function passes(x: GpuArray, first = 0, rows = 1, relu = false) {
  const [planes = 0] = x.shape;
  const plane = x.size / Math.max(1, planes);
  const chunk = Math.max(SHORTEST_CHUNK, Math.ceil(plane / MOST_LANES));
  const lanes = Math.ceil(plane / chunk);
  const stride = Math.min(strideFor(x.gpu), lanes);
  return {
    parts: x.gpu.empty([planes, lanes, 2], "parts of plane sums"),
    params: { planes, plane, lanes, chunk, stride, first, rows, relu: Number(relu) },
    partsGrid: gridFor(planes * lanes, WORKGROUP_SIZE),
    totalsGrid: gridFor(planes, WORKGROUP_SIZE),
  };
}

/**
 * Mean and sum of squared deviations of every plane.
 *
 * @param x [N, C, ...], planes not empty.
 * @returns [N, C, 2]: (mean, Σ (x - mean)²).
 */
export function planeMoments(x: GpuArray): GpuArray {
  const { images, channels } = planeSizes("planeMoments", x);
  const output = x.gpu.empty([images, channels, 2], "planes.moments");
  sliceByPlane([x], [output], ([x], [totals]) => {
    const { parts, params, partsGrid, totalsGrid } = passes(x);
    dispatch(moments, { x, parts }, params, partsGrid);
    dispatch(totalMoments, { parts, totals }, params, totalsGrid);
    parts.release();
  });
  return output;
}

/**
 * What the gradient of a normalisation needs of every plane.
 *
 * @param gradOutput Of the shape of `x`.
 * @param x The input of the forward, [N, C, ...].
 * @returns [N, C, 2]: (Σ g, Σ g (x - center)), g the gradient as far as the ReLU let it through.
 */
export function planeSums(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, relu }: Normalisation,
): GpuArray {
  const { images, channels } = planeSizes("planeSums", x);
  const output = x.gpu.empty([images, channels, 2], "planes.sums");
  const rows = coefficients.size / 4;
  sliceByPlane([gradOutput, x], [output], ([gradOutput, x], [totals], first) => {
    const { parts, params, partsGrid, totalsGrid } = passes(x, first, rows, relu);
    dispatch(sums, { gradOutput, x, coefficients, parts }, params, partsGrid);
    dispatch(totalSums, { parts, totals }, params, totalsGrid);
    parts.release();
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
  const { images, channels } = planeSizes("planeDots", x);
  const output = x.gpu.empty([images, channels], "planes.dots");
  sliceByPlane([gradOutput, x], [output], ([gradOutput, x], [dotTotals]) => {
    const { parts, params, partsGrid, totalsGrid } = passes(x);
    dispatch(dots, { gradOutput, x, parts }, params, partsGrid);
    dispatch(totalDots, { parts, dotTotals }, params, totalsGrid);
    parts.release();
  });
  return output;
}
