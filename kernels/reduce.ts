// Sum of all elements in a fixed order, and its gradient; the formulas are in the WGSL.

import { addInPlace } from "./elementwise.ts";
import {
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import source from "./reduce.wgsl" with { type: "text" };

const shared = {
  file: "kernels/reduce.wgsl",
  source,
  reads: ["x"],
  writes: ["y"],
  params: { count: "u32", factor: "f32" },
} as const;
const sumRuns = defineKernel({ ...shared, name: "sum.forward", entry: "sum_runs" });
const { RUN } = wgslConstants(sumRuns, "RUN");
const broadcast = defineKernel({ ...shared, name: "sum.backward", entry: "broadcast" });

/** Sum of all elements, of shape []; 0 for an empty array. */
export function sumForward(x: GpuArray): GpuArray {
  const total = x.gpu.zeros([], "sum");
  if (x.size === 0) return total;
  sliceByElement([x], [], ([range]) => {
    let sums = range.retain();
    while (sums.size > 1) {
      const count = sums.size;
      const next = x.gpu.empty([Math.ceil(count / RUN)], "partial sums");
      dispatch(sumRuns, { x: sums, y: next }, { count, factor: 1 }, next.size);
      sums.release();
      sums = next;
    }
    const sum = sums.view([]);
    addInPlace(total, sum);
    sum.release();
    sums.release();
  });
  return total;
}

/**
 * Gradient of `factor` times the sum: the scalar times `factor` at every element.
 *
 * @param gradOutput A scalar.
 * @param shape Shape of what was summed.
 */
export function sumBackward(
  gradOutput: GpuArray,
  shape: readonly number[],
  factor: number,
): GpuArray {
  const output = gradOutput.gpu.empty(shape, "sum.backward");
  sliceByElement([], [output], (_, [y]) => {
    dispatch(broadcast, { x: gradOutput, y }, { count: y.size, factor }, y.size);
  });
  return output;
}
