// Finds NaN and infinities; the test of bits is in the WGSL.

import { defineKernel, dispatch, type Gpu, type GpuArray, sliceByElement } from "./runtime/mod.ts";
import { spread, strideFor } from "./spread.ts";
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

/**
 * How many elements of all the arrays together are NaN or infinite.
 *
 * @returns A scalar.
 */
export function countNonfinite(gpu: Gpu, arrays: Iterable<GpuArray>): GpuArray<"u32"> {
  const total = gpu.zeros([], "non-finite elements", "u32");
  const stride = strideFor(gpu);
  for (const array of arrays) {
    sliceByElement([array], [], ([x]) => {
      dispatch(count, { x, total }, { count: x.size, stride }, spread(x.size));
    });
  }
  return total;
}
