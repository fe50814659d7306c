// How element-wise and per-plane kernels spread elements over invocations.

import type { Gpu, Kernel } from "./runtime/mod.ts";

/**
 * How far apart the elements of one invocation lie. On a CPU adapter they are neighbours, which
 * measured a quarter faster there; on a GPU they lie one workgroup apart, so that neighbouring
 * invocations read neighbouring memory in one transaction.
 */
export function strideFor({ workgroupSize }: Pick<Kernel, "workgroupSize">, gpu: Gpu): number {
  return gpu.adapter.isFallback ? 1 : workgroupSize;
}
