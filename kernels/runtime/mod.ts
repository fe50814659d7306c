/**
 * The WebGPU runtime: devices, arrays in GPU memory, and kernels that run on them.
 *
 * @module
 */
export { type AnyArray, type DType, GpuArray, type HostArray } from "./array.ts";
export { Choices, type ChoiceTable, type Problem, tune } from "./choices.ts";
export { GpuError, MemoryError } from "./errors.ts";
export { type AdapterDescription, Gpu, type GpuOptions, type KernelClass, openGpu } from "./gpu.ts";
export {
  type ArrayBinding,
  defineKernel,
  dispatch,
  type DispatchOptions,
  type Grid,
  gridFor,
  type Kernel,
  type KernelDefinition,
  type ScalarType,
} from "./kernel.ts";
export { planningGpu, type PlanningOptions } from "./plan.ts";
export type { MemoryUse } from "./pool.ts";
export type { KernelProfile, Profiler } from "./profile.ts";
export { elementCount, formatBytes, formatShape, sameShape, type Shape } from "./shape.ts";
export { type RunRange, sliceByElement, sliceByImage } from "./split.ts";
