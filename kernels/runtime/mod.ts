/**
 * The WebGPU runtime: devices, arrays in GPU memory, and kernels that run on them.
 *
 * @module
 */
export { type AnyArray, type Gpu, GpuArray } from "./array.ts";
export { Choices, type ChoiceTable, type Problem, type Ways } from "./choices.ts";
export { dispatch, type DispatchOptions, type Grid, gridFor, MAX_GROUPS } from "./dispatch.ts";
export { type AdviceOptions, GpuError, MemoryError } from "./errors.ts";
export { openGpu } from "./gpu.ts";
export {
  type ArrayBinding,
  defineKernel,
  type Kernel,
  type KernelDefinition,
  type ScalarType,
} from "./kernel.ts";
export type { HostTimes } from "./on_host.ts";
export type { AdapterDescription, GpuOptions, KernelClass, Peers, Precision } from "./options.ts";
export { planningGpu, type PlanningOptions } from "./plan.ts";
export type { MemoryUse } from "./pool.ts";
export type { KernelProfile, Profiler } from "./profile.ts";
export {
  type DType,
  elementCount,
  formatBytes,
  formatShape,
  type HostArray,
  sameShape,
  type Shape,
} from "./shape.ts";
export { type RunRange, sliceByElement, sliceByImage } from "./split.ts";
export { tune, type TuneOptions, type Tuning } from "./tune.ts";
export { MOST_FLOPS } from "./work.ts";
export { type WgslBinding, wgslConstants, type WgslFile } from "./wgsl.ts";
