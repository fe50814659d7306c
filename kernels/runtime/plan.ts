// A device that runs nothing: all code above it is that of a run, on buffers that are only counted.

import type { Gpu, GpuArray } from "./array.ts";
import type { Choices } from "./choices.ts";
import { Device } from "./device.ts";
import type { AdapterDescription, GpuOptions } from "./options.ts";

/** What kernels choose their splits and variants by. */
export interface PlanningOptions extends Omit<GpuOptions, "profile" | "guardBytes" | "autotune"> {
  /** The adapter to plan for; a GPU with WebGPU's default limits unless given. */
  readonly adapter?: AdapterDescription | undefined;
  /** Its limits, where they differ from WebGPU's defaults. */
  readonly limits?: Partial<GPUSupportedLimits> | undefined;
  /** The choices of the device to plan for; they note what the plan asks. */
  readonly choices?: Choices<GpuArray> | undefined;
}

const SOME_GPU: AdapterDescription = {
  description: "planning device",
  vendor: "",
  isFallback: false,
  features: ["shader-f16"],
};

/** WebGPU's defaults, as far as the library reads them. */
const DEFAULT_LIMITS = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  minStorageBufferOffsetAlignment: 256,
};

/**
 * Opens a device that allocates and computes nothing. Everything that runs on it is counted: the
 * bytes of arrays by {@link Gpu.memory}, the work of kernels by {@link Gpu.profiler}. What is read
 * from it is zeros. It needs no adapter.
 *
 * @example How much memory a network's weights take
 * ```ts
 * import { DeepLab, planningGpu } from "@proda/webgpu";
 * using gpu = planningGpu();
 * new DeepLab(gpu, { classes: 19, init: "none" });
 * console.log(gpu.memory.live > 2 ** 28); // true, though no such memory was taken
 * ```
 */
export function planningGpu(options: PlanningOptions = {}): Gpu {
  const { adapter = SOME_GPU, limits, ...rest } = options;
  const names = Object.keys(DEFAULT_LIMITS) as (keyof typeof DEFAULT_LIMITS)[];
  // One by one, as a device's limits are no properties of their own.
  const given = names.map((name) => [name, limits?.[name] ?? DEFAULT_LIMITS[name]]);
  const device = new PlanningDevice(Object.fromEntries(given), adapter.features);
  // What takes no time is given at once: memory that is planned does not depend on the machine.
  const maxSubmitSeconds = rest.maxSubmitSeconds ?? Infinity;
  const planned = { ...rest, maxSubmitSeconds, profile: true };
  return new Device(device as unknown as GPUDevice, adapter, planned);
}

/** The part of a GPUDevice that the runtime uses, without anything behind it. */
class PlanningDevice {
  readonly limits: object;
  readonly features: ReadonlySet<string>;
  readonly lost = new Promise<never>(() => {});
  readonly queue = {
    submit: nothing,
    writeBuffer: nothing,
    onSubmittedWorkDone: () => Promise.resolve(),
  };
  readonly addEventListener = nothing;
  readonly pushErrorScope = nothing;
  readonly destroy = nothing;
  readonly createBindGroup = empty;
  readonly createBindGroupLayout = empty;
  readonly createComputePipeline = empty;
  readonly createPipelineLayout = empty;
  readonly createQuerySet = empty;
  readonly createShaderModule = empty;

  constructor(limits: object, features: readonly string[]) {
    this.limits = limits;
    this.features = new Set(features);
  }

  popErrorScope(): Promise<null> {
    return Promise.resolve(null);
  }

  createBuffer({ size }: { size: number }): object {
    return {
      size,
      destroy: nothing,
      unmap: nothing,
      mapAsync: () => Promise.resolve(),
      getMappedRange: (_offset = 0, bytes = size) => new ArrayBuffer(bytes),
    };
  }

  createCommandEncoder(): object {
    const pass = {
      setPipeline: nothing,
      setBindGroup: nothing,
      dispatchWorkgroups: nothing,
      end: nothing,
    };
    return {
      beginComputePass: () => pass,
      clearBuffer: nothing,
      copyBufferToBuffer: nothing,
      resolveQuerySet: nothing,
      finish: empty,
    };
  }
}

function nothing(): void {}

function empty(): object {
  return {};
}
