// Finds NaN and infinities; the test of bits is in the WGSL.

import {
  defineKernel,
  dispatch,
  type Gpu,
  type GpuArray,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./nonfinite.wgsl" with { type: "text" };

const count = defineKernel({
  name: "nonfinite.count",
  file: "kernels/nonfinite.wgsl",
  source,
  entry: "count",
  reads: ["x"],
  writes: ["total"],
  params: { count: "u32", stride: "u32" },
});
const { RUN } = wgslConstants(count, "RUN");

/**
 * How many elements of all the arrays together are NaN or infinite.
 *
 * @returns A scalar.
 */
export function countNonfinite(gpu: Gpu, arrays: Iterable<GpuArray>): GpuArray<"u32"> {
  const total = gpu.zeros([], "non-finite elements", "u32");
  const stride = strideFor(count, gpu);
  for (const array of arrays) {
    sliceByElement([array], [], ([x]) => {
      dispatch(count, { x, total }, { count: x.size, stride }, Math.ceil(x.size / RUN));
    });
  }
  return total;
}
