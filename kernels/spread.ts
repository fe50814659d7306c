// How element-wise and per-plane kernels spread elements over invocations.

import { type Gpu, gridFor } from "./runtime/mod.ts";

/** Invocations of a workgroup; `WORKGROUP_SIZE` in the WGSL. */
export const WORKGROUP_SIZE = 64;

/** Elements that one invocation owns; `RUN` in the WGSL. */
export const RUN = 16;

/**
 * How far apart the elements of one invocation lie. On a CPU adapter they are neighbours, which
 * measured a quarter faster there; on a GPU they lie one workgroup apart, so that neighbouring
 * invocations read neighbouring memory in one transaction.
 */
export function strideFor(gpu: Gpu): number {
  return gpu.adapter.isFallback ? 1 : WORKGROUP_SIZE;
}

/** Workgroups for `count` elements, {@link RUN} an invocation. */
export function spread(count: number): [number, number, number] {
  return gridFor(Math.ceil(count / RUN), WORKGROUP_SIZE);
}
