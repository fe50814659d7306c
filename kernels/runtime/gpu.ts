// The device: adapter choice, limits, memory, pipelines, errors.

import { type AnyArray, type DType, GpuArray } from "./array.ts";
import { Choices } from "./choices.ts";
import type { Kernel } from "./kernel.ts";
import { checkDispatch, PipelineCache } from "./pipelines.ts";
import { BufferPool, type MemoryUse } from "./pool.ts";
import { Profiler } from "./profile.ts";
import { CommandQueue, type ParamValue } from "./queue.ts";
import { ReadBack, SENTINEL } from "./read_back.ts";
import { elementCount, formatBytes, type Shape } from "./shape.ts";

/**
 * How convolutions and matrix products are computed: `direct`, by large tiles in registers, as software
 * adapters run fastest; `shared`, by tiles in workgroup memory, for GPUs.
 */
export type KernelClass = "direct" | "shared";

/** How to open a device. */
export interface GpuOptions {
  /** The class of kernels; unless said, the one made for the adapter. */
  readonly kernels?: KernelClass | "auto" | undefined;
  /** The most bytes that arrays may take together; unlimited unless said. */
  readonly memoryBudget?: number | undefined;
  /** Whether to time every kernel by timestamp queries; slower. */
  readonly profile?: boolean | undefined;
  /**
   * Whether `tune` may time the ways of computing what is run, and choose; without it, results keep
   * their bits from run to run.
   */
  readonly autotune?: boolean | undefined;
  /** Pretend that the adapter binds no more bytes than this; for tests of splitting. */
  readonly maxBindingBytes?: number | undefined;
  /** Bytes of sentinel behind every array, checked when it is read; for tests of bounds. */
  readonly guardBytes?: number | undefined;
}

/** The adapter, as WebGPU names it. */
export interface AdapterDescription {
  /** Driver or device name, `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  /** Vendor, for Vulkan the PCI id as a decimal string. */
  readonly vendor: string;
  /** Whether the adapter is a CPU behind a graphics interface. */
  readonly isFallback: boolean;
  /** Features that the adapter offers. */
  readonly features: readonly string[];
}

/**
 * Limits above WebGPU's defaults that the library asks for, each where the adapter has it: large
 * tensors in one buffer and in one binding, and finer offsets for slices.
 */
const WANTED_LIMITS = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;

/**
 * Opens the machine's GPU, the fastest that WebGPU offers.
 *
 * @example Double numbers on the GPU
 * ```ts
 * import { kernels, openGpu } from "@proda/webgpu";
 * const gpu = await openGpu();
 * const x = gpu.upload(new Float32Array([1, 2, 3]), [3], "x");
 * console.log(await kernels.scaleForward(x, 2).read()); // Float32Array(3) [ 2, 4, 6 ]
 * gpu.close();
 * ```
 * @throws {Error} If there is no adapter, or only an OpenGL one.
 */
export async function openGpu(options: GpuOptions = {}): Promise<Gpu> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new Error(
      "Cannot open a GPU as WebGPU found no adapter: install a Vulkan driver (on Debian " +
        "`apt-get install libvulkan1 mesa-vulkan-drivers`), then run `deno task doctor`",
    );
  }
  if (isOpenGl(adapter)) {
    throw new Error(
      `Cannot open "${adapter.info.description}" as it is an OpenGL adapter, on which kernels are ` +
        "neither fast nor checked: install a Vulkan driver, or set DENO_WEBGPU_BACKEND=vulkan to see why it is not found",
    );
  }
  const timestamps = options.profile || options.autotune;
  if (timestamps && !adapter.features.has("timestamp-query")) {
    throw new Error(
      `Cannot ${options.profile ? "profile" : "autotune"} on "${adapter.info.description}" as it ` +
        "has no timestamp queries",
    );
  }
  const requiredLimits: Record<string, number> = {};
  for (const limit of WANTED_LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const device = await adapter.requestDevice({
    requiredLimits,
    requiredFeatures: timestamps ? ["timestamp-query"] : [],
  });
  return new Gpu(device, {
    description: adapter.info.description,
    vendor: adapter.info.vendor,
    isFallback: adapter.info.isFallbackAdapter,
    features: [...adapter.features],
  }, options);
}

// Deno falls back to OpenGL without a word where Vulkan finds no driver. An OpenGL adapter reports
// no bound on bindings and never has this feature, which every Vulkan, Metal and D3D12 one has.
function isOpenGl(adapter: GPUAdapter): boolean {
  return adapter.limits.maxBindingsPerBindGroup === 0xffffffff &&
    !adapter.features.has("bgra8unorm-storage");
}

/** An open device: memory, kernels and errors. Made by {@link openGpu}. */
export class Gpu {
  /** The adapter behind the device. */
  readonly adapter: AdapterDescription;
  /** The WebGPU device. */
  readonly device: GPUDevice;
  /** How convolutions and matrix products are computed. */
  readonly kernelClass: KernelClass;
  /** Most bytes of one array that one binding may show to a kernel. */
  readonly maxBindingBytes: number;
  /** Alignment of slices that kernels bind, in bytes. */
  readonly offsetAlignment: number;
  /** Which of several ways launchers take. */
  readonly choices: Choices;
  /** Times of kernels, when opened with `profile`. */
  readonly profiler: Profiler | undefined;
  /**
   * Buffers by size class.
   *
   * @internal
   */
  readonly pool: BufferPool;
  /**
   * The open encoder.
   *
   * @internal
   */
  readonly queue: CommandQueue;
  readonly #guardBytes: number;
  readonly #pipelines: PipelineCache;
  readonly #readBack: ReadBack;
  #failure: Error | undefined;
  #closed = false;

  /**
   * Use {@link openGpu}.
   *
   * @internal
   */
  constructor(device: GPUDevice, adapter: AdapterDescription, options: GpuOptions) {
    this.device = device;
    this.adapter = adapter;
    const { kernels = "auto" } = options;
    this.kernelClass = kernels !== "auto" ? kernels : adapter.isFallback ? "direct" : "shared";
    this.maxBindingBytes = Math.min(
      device.limits.maxStorageBufferBindingSize,
      options.maxBindingBytes ?? Infinity,
    );
    this.offsetAlignment = device.limits.minStorageBufferOffsetAlignment;
    this.#guardBytes = options.guardBytes ?? 0;
    this.profiler = options.profile ? new Profiler(device) : undefined;
    this.choices = new Choices(options.autotune ? new Profiler(device) : undefined);
    this.queue = new CommandQueue(device, {
      profiler: this.profiler,
      guardBytes: this.#guardBytes,
    });
    this.#readBack = new ReadBack(device, this.queue, this.#guardBytes);
    this.#pipelines = new PipelineCache(
      device,
      this.queue.paramsLayout,
      (error) => this.#fail(error),
    );
    this.pool = new BufferPool(device, options.memoryBudget ?? Infinity, {
      beforeDestroy: () => this.queue.flush(),
      onDestroy: (storage) => this.queue.forget(storage),
    });
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#fail(
        new Error(`The GPU reported an error: ${(event as GPUUncapturedErrorEvent).error.message}`),
      );
    });
    device.lost.then(({ reason, message }) => {
      if (!this.#closed) {
        this.#fail(
          new Error(
            `The GPU device was lost (${reason}): ${message}; resume from the last checkpoint`,
          ),
        );
      }
    });
  }

  /** Byte counters of all arrays. */
  get memory(): MemoryUse {
    return this.pool.use;
  }

  /** Begins the peaks of {@link Gpu.memory} afresh, from what is held now. */
  resetPeak(): void {
    this.pool.resetPeak();
  }

  /** An array of undefined contents: write all of it. */
  empty(shape: Shape, label: string): GpuArray<"f32">;
  /** An array of undefined contents of the given element type. */
  empty<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  empty(shape: Shape, label: string, dtype: DType = "f32"): AnyArray {
    return this.#allocate(shape, label, dtype);
  }

  /** A new array; where `idle`, of memory that the open encoder does not use. */
  #allocate<D extends DType>(shape: Shape, label: string, dtype: D, idle = false): GpuArray<D> {
    this.check();
    const bytes = Math.max(4, elementCount(shape) * 4);
    if (bytes > this.device.limits.maxBufferSize) {
      throw new RangeError(
        `Cannot allocate "${label}" as one buffer holds at most ${
          formatBytes(this.device.limits.maxBufferSize)
        } on this adapter and it needs ${formatBytes(bytes)}: lower the batch or crop size`,
      );
    }
    const busy = idle ? this.queue.serial : undefined;
    const storage = this.pool.acquire(bytes + this.#guardBytes, label, busy);
    if (this.#guardBytes > 0) {
      this.queue.write(storage, bytes, new Uint32Array(this.#guardBytes / 4).fill(SENTINEL));
    }
    return new GpuArray(this, storage, { shape, dtype, label });
  }

  /** An array of zeros. */
  zeros(shape: Shape, label: string): GpuArray<"f32">;
  /** An array of zeros of the given element type. */
  zeros<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  zeros(shape: Shape, label: string, dtype: DType = "f32"): AnyArray {
    const array = this.empty(shape, label, dtype);
    this.clear(array);
    return array;
  }

  /**
   * Copies host numbers to a new array.
   *
   * @throws {TypeError} If the length is not that of the shape.
   */
  upload<T extends Float32Array | Uint32Array>(
    data: T,
    shape: Shape,
    label: string,
  ): GpuArray<T extends Float32Array ? "f32" : "u32"> {
    const dtype = (data instanceof Float32Array ? "f32" : "u32") as T extends Float32Array ? "f32"
      : "u32";
    if (data.length !== elementCount(shape)) {
      throw new TypeError(
        `Cannot upload "${label}" as its shape [${shape.join(", ")}] holds ${
          elementCount(shape)
        } elements and the data ${data.length}`,
      );
    }
    // Memory in use would force a submit, which waits until the one before has run.
    const array = this.#allocate(shape, label, dtype, true);
    this.write(array, data);
    return array;
  }

  /** Overwrites an array with host numbers of the same length. */
  write(array: AnyArray, data: Float32Array | Uint32Array): void {
    if (data.length !== array.size) {
      throw new TypeError(
        `Cannot write ${data.length} elements to "${array.label}" as it has ${array.size}`,
      );
    }
    this.check();
    this.queue.write(array.storage, array.byteOffset, data);
    this.pool.dropDerived(array.storage);
  }

  /** Sets every element to zero. */
  clear(array: AnyArray): void {
    this.queue.clear(array.storage, array.byteOffset, array.byteLength);
    this.pool.dropDerived(array.storage);
  }

  /** Copies one array over another of the same size. */
  copy(from: AnyArray, to: AnyArray): void {
    if (from.size !== to.size) {
      throw new TypeError(
        `Cannot copy "${from.label}" to "${to.label}" as they have ${from.size} and ${to.size} elements`,
      );
    }
    this.queue.copy(from, to);
    this.pool.dropDerived(to.storage);
  }

  /**
   * Copies arrays to the host in one transfer, after everything enqueued before has run.
   *
   * @throws {Error} The first GPU error kept since the last host call.
   */
  async readAll(arrays: readonly AnyArray[]): Promise<(Float32Array | Uint32Array)[]> {
    this.check();
    // An error of the GPU says more than that of the transfer which it made fail.
    return await this.#readBack.read(arrays, () => this.#pipelines.built())
      .finally(() => this.check());
  }

  /**
   * Runs a kernel; use `dispatch`.
   *
   * @internal
   */
  run(
    kernel: Kernel,
    arrays: readonly AnyArray[],
    params: readonly ParamValue[],
    grid: readonly [number, number, number],
    flops: number,
  ): void {
    this.check();
    checkDispatch(this, kernel, arrays, grid);
    const pipeline = this.#pipelines.get(kernel);
    this.queue.dispatch(pipeline, arrays, params, grid, { label: kernel.name, flops });
    kernel.arrays.forEach(({ written }, index) => {
      if (written) this.pool.dropDerived((arrays[index] as AnyArray).storage);
    });
  }

  /**
   * Submits everything recorded so far.
   *
   * @throws {Error} A kept GPU error.
   */
  flush(): void {
    this.check();
    this.queue.flush();
  }

  /**
   * Waits until the GPU has run everything recorded so far.
   *
   * @throws {Error} A kept GPU error.
   */
  async finish(): Promise<void> {
    this.flush();
    await this.#pipelines.built();
    await this.device.queue.onSubmittedWorkDone();
    this.check();
  }

  /** Throws the first GPU error that was kept, as errors reach the host late. */
  check(): void {
    if (this.#failure) throw this.#failure;
    if (this.#closed) throw new Error("Cannot use the GPU after close()");
  }

  #fail(error: Error): void {
    this.#failure ??= error;
  }

  /** Frees everything; arrays of the device are unusable afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readBack.close();
    this.device.destroy();
  }

  /** Same as {@link Gpu.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
