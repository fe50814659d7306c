// Pipelines: built once a kernel, inside a validation scope, with layouts derived from its arrays.

import type { ArraysLayout } from "./bind_groups.ts";
import { GpuError } from "./errors.ts";
import type { Kernel } from "./kernel.ts";

/** A kernel ready to run. */
export interface Pipeline {
  /** What it was built from. */
  readonly kernel: Kernel;
  /** The compiled entry point. */
  readonly pipeline: GPUComputePipeline;
  /** Layout of its arrays. */
  readonly arraysLayout: ArraysLayout;
}

/** Builds pipelines on first use and keeps them for the life of the device. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #paramsLayout: GPUBindGroupLayout;
  readonly #fail: (error: Error) => void;
  readonly #pipelines = new Map<Kernel, Pipeline>();
  readonly #layouts = new Map<string, ArraysLayout>();
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
    const arraysLayout = this.#arraysLayout(kernel);
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label: kernel.file, code: kernel.source });
    const pipeline: Pipeline = {
      kernel,
      pipeline: this.#device.createComputePipeline({
        label: kernel.name,
        layout: this.#device.createPipelineLayout({
          bindGroupLayouts: [arraysLayout.layout, this.#paramsLayout],
        }),
        compute: { module, entryPoint: kernel.entry, constants: { ...kernel.constants } },
      }),
      arraysLayout,
    };
    const build = this.#device.popErrorScope().then(async (error) => {
      if (error) this.#fail(await compileError(kernel, module, error));
    }).catch(() => {}) // the device is lost, which it tells itself
      .finally(() => this.#builds.delete(build));
    this.#builds.add(build);
    this.#pipelines.set(kernel, pipeline);
    return pipeline;
  }

  /** Whether a build has begun of which it is not known how it ends. */
  get building(): boolean {
    return this.#builds.size > 0;
  }

  /** Waits until every build that has begun has succeeded or failed. */
  async built(): Promise<void> {
    await Promise.all(this.#builds);
  }

  #arraysLayout(kernel: Kernel): ArraysLayout {
    const key = kernel.arrays
      .map(({ binding, writable }) => `${binding}${writable ? "w" : "r"}`).join();
    const cached = this.#layouts.get(key);
    if (cached) return cached;
    const layout = this.#device.createBindGroupLayout({
      entries: kernel.arrays.map(({ binding, writable }) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: writable ? "storage" : "read-only-storage" },
      })),
    });
    const arraysLayout = { key, layout, bindings: kernel.arrays.map(({ binding }) => binding) };
    this.#layouts.set(key, arraysLayout);
    return arraysLayout;
  }
}

async function compileError(
  kernel: Kernel,
  module: GPUShaderModule,
  error: GPUError,
): Promise<Error> {
  const none = { messages: [] };
  const { messages } = await module.getCompilationInfo().catch(() => none);
  const errors = messages.filter(({ type }) => type === "error");
  const lines = kernel.source.split("\n");
  const details = (errors.length > 0 ? errors : messages).map(({ lineNum, linePos, message }) =>
    `${kernel.file}:${lineNum}:${linePos}: ${message.trim()}\n    ${lines[lineNum - 1] ?? ""}`
  );
  return new GpuError(
    `Cannot build ${kernel.name}:\n${
      details.join("\n") || `${kernel.file}: ${error.message.trim()}`
    }`,
  );
}
