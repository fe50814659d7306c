// Mean of every plane; the formulas are in the WGSL.

import { type Accumulator, accumulatorFor } from "./accumulator.ts";
import { imageSizes, sliceByPlane, spreadPlanes } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, type Shape } from "./runtime/mod.ts";
import { meansOfPlanes } from "./sets.ts";
import source from "./global_average_pool.wgsl" with { type: "text" };

/** Invocations that share a plane, at most. */
const MOST_LANES = 32;
/** Elements that an invocation adds, at least. */
const SHORTEST_LANE = 16;

const shared = {
  file: "kernels/global_average_pool.wgsl",
  source,
  params: { planes: "u32", run: "u32", plane: "u32", lanes: "u32" },
} as const;
const sum = defineKernel({
  ...shared,
  name: "global_average_pool.sum",
  entry: "sum",
  reads: ["x"],
  writes: ["laneSums"],
});
const mean = defineKernel({
  ...shared,
  name: "global_average_pool.mean",
  entry: "mean",
  reads: ["laneSums"],
  writes: ["y"],
});
const backward = (name: string, constants: Readonly<Record<string, number>>) =>
  defineKernel({
    ...shared,
    name,
    entry: "backward",
    reads: ["gradY"],
    writes: ["gradX"],
    constants,
  });
const overwrite = backward("global_average_pool.backward", {});
const add = backward("global_average_pool.backward_add", { ACCUMULATE: 1 });

/**
 * Mean of every plane, [N, C].
 *
 * @param x [N, C, H, W].
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If the planes are empty.
 */
export function globalAveragePoolForward(x: GpuArray): GpuArray {
  const { images, channels, height, width } = imageSizes("global_average_pool", x);
  const plane = height * width;
  if (plane === 0) throw new RangeError("Cannot run global_average_pool as the planes are empty");
  const output = x.gpu.empty([images, channels], "global_average_pool.forward");
  if (x.gpu.kernelClass === "shared") {
    meansOfPlanes(x, output);
    return output;
  }
  const lanes = Math.min(MOST_LANES, Math.ceil(plane / SHORTEST_LANE));
  sliceByPlane([x], [output], ([x], [y]) => {
    const params = { planes: y.size, run: 1, plane, lanes };
    const laneSums = x.gpu.empty([y.size, lanes], "sums of lanes");
    dispatch(sum, { x, laneSums }, params, laneSums.size);
    dispatch(mean, { laneSums, y }, params, y.size);
    laneSums.release();
  });
  return output;
}

/**
 * Gradient of {@link globalAveragePoolForward}.
 *
 * @param gradOutput [N, C].
 * @param inputShape [N, C, H, W].
 * @param to Where to write it; a new array unless said.
 */
export function globalAveragePoolBackward(
  gradOutput: GpuArray,
  inputShape: Shape,
  to: true | Accumulator = true,
): GpuArray {
  const { array: gradInput, accumulate } = accumulatorFor(
    to,
    () => gradOutput.gpu.empty(inputShape, "global_average_pool.backward"),
  );
  const kernel = accumulate ? add : overwrite;
  sliceByPlane([gradOutput], [gradInput], ([gradY], [gradX]) => {
    const { grid, run } = spreadPlanes(kernel, gradX);
    const params = { planes: gradY.size, run, plane: gradX.size / gradY.size, lanes: 0 };
    dispatch(kernel, { gradY, gradX }, params, grid);
  });
  return gradInput;
}
