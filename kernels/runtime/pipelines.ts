// Pipelines: built once a kernel, inside a validation scope, with layouts derived from its arrays.

import type { AnyArray } from "./array.ts";
import type { Gpu } from "./gpu.ts";
import { type Kernel, MAX_GROUPS } from "./kernel.ts";
import type { Pipeline } from "./queue.ts";
import { formatBytes } from "./shape.ts";

/** Builds pipelines on first use and keeps them for the life of the device. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #paramsLayout: GPUBindGroupLayout;
  readonly #fail: (error: Error) => void;
  readonly #pipelines = new Map<Kernel, Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #builds = new Set<Promise<void>>();

  /** `fail` keeps the error of a kernel that does not compile: WebGPU tells of it late. */
  constructor(device: GPUDevice, paramsLayout: GPUBindGroupLayout, fail: (error: Error) => void) {
    this.#device = device;
    this.#paramsLayout = paramsLayout;
    this.#fail = fail;
  }

  /** The pipeline of a kernel. */
  get(kernel: Kernel): Pipeline {
    const cached = this.#pipelines.get(kernel);
    if (cached) return cached;
    const layoutKey = kernel.arrays
      .map(({ binding, writable }) => `${binding}${writable ? "w" : "r"}`).join();
    const arraysLayout = this.#arraysLayout(kernel, layoutKey);
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label: kernel.file, code: kernel.source });
    const pipeline: Pipeline = {
      pipeline: this.#device.createComputePipeline({
        label: kernel.name,
        layout: this.#device.createPipelineLayout({
          bindGroupLayouts: [arraysLayout, this.#paramsLayout],
        }),
        compute: { module, entryPoint: kernel.entry, constants: { ...kernel.constants } },
      }),
      arraysLayout,
      layoutKey,
      bindings: kernel.arrays.map(({ binding }) => binding),
    };
    const build = this.#device.popErrorScope().then(async (error) => {
      if (error) this.#fail(await compileError(kernel, module, error));
    }).finally(() => this.#builds.delete(build));
    this.#builds.add(build);
    this.#pipelines.set(kernel, pipeline);
    return pipeline;
  }

  /** Waits until every build that has begun has succeeded or failed. */
  async built(): Promise<void> {
    await Promise.all(this.#builds);
  }

  #arraysLayout(kernel: Kernel, layoutKey: string): GPUBindGroupLayout {
    const cached = this.#layouts.get(layoutKey);
    if (cached) return cached;
    const layout = this.#device.createBindGroupLayout({
      entries: kernel.arrays.map(({ binding, writable }) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: writable ? "storage" : "read-only-storage" },
      })),
    });
    this.#layouts.set(layoutKey, layout);
    return layout;
  }
}

/**
 * Checks a dispatch before it is recorded: WebGPU would report it late, or drop it.
 *
 * @throws {TypeError} If an array lives elsewhere, has another type, or shares a written buffer.
 * @throws {RangeError} If the grid or a binding exceeds the adapter's limits.
 */
export function checkDispatch(
  gpu: Gpu,
  kernel: Kernel,
  arrays: readonly AnyArray[],
  grid: readonly [number, number, number],
): void {
  for (const groups of grid) {
    if (groups > MAX_GROUPS) {
      throw new RangeError(
        `Cannot run ${kernel.name} as its grid [${grid.join(", ")}] exceeds ${MAX_GROUPS}`,
      );
    }
  }
  arrays.forEach((array, index) => {
    const { name, dtype, written } = kernel.arrays[index] as Kernel["arrays"][number];
    if (array.gpu !== gpu) {
      throw new TypeError(`Cannot run ${kernel.name} as "${name}" lives on another device`);
    }
    if (dtype && dtype !== array.dtype) {
      throw new TypeError(`Cannot run ${kernel.name} as "${name}" is ${array.dtype}, not ${dtype}`);
    }
    if (array.byteLength > gpu.maxBindingBytes) {
      throw new RangeError(
        `Cannot run ${kernel.name} as "${name}" takes ${
          formatBytes(array.byteLength)
        } and a binding shows at most ${formatBytes(gpu.maxBindingBytes)}`,
      );
    }
    if (array.byteOffset % gpu.offsetAlignment !== 0) {
      throw new RangeError(
        `Cannot run ${kernel.name} as "${name}" starts at byte ${array.byteOffset}, not a multiple of ${gpu.offsetAlignment}`,
      );
    }
    if (written) {
      arrays.forEach((other, otherIndex) => {
        if (otherIndex !== index && other.storage === array.storage) {
          throw new TypeError(
            `Cannot run ${kernel.name} as "${name}" and "${
              kernel.arrays[otherIndex]?.name
            }" share a buffer that it writes`,
          );
        }
      });
    }
  });
}

async function compileError(
  kernel: Kernel,
  module: GPUShaderModule,
  error: GPUError,
): Promise<Error> {
  const { messages } = await module.getCompilationInfo();
  const lines = kernel.source.split("\n");
  const details = messages.map(({ lineNum, linePos, message }) =>
    `${kernel.file}:${lineNum}:${linePos}: ${message.trim()}\n    ${lines[lineNum - 1] ?? ""}`
  );
  return new Error(
    `Cannot build ${kernel.name}:\n${details.length > 0 ? details.join("\n") : error.message}`,
  );
}
