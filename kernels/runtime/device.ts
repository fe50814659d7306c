// What is behind an open device: memory, the queue, pipelines, and errors that arrive late.

import { type AnyArray, type Gpu, GpuArray } from "./array.ts";
import { Choices } from "./choices.ts";
import { GpuError, MemoryError } from "./errors.ts";
import type { Kernel } from "./kernel.ts";
import { HostChanges, type HostTimes } from "./on_host.ts";
import type { AdapterDescription, GpuOptions, KernelClass, Peers } from "./options.ts";
import { PipelineCache } from "./pipelines.ts";
import { BufferPool, type MemoryUse } from "./pool.ts";
import { Profiler } from "./profile.ts";
import { CommandQueue } from "./queue.ts";
import { type HostData, ReadBack, SENTINEL } from "./read_back.ts";
import { type DType, elementCount, formatBytes, type Shape } from "./shape.ts";
import { mapEarly, mapForReading } from "./staging.ts";
import { LONGEST_SUBMISSION } from "./work.ts";

/** An open device; members are documented where {@link Gpu} declares them. */
export class Device implements Gpu {
  readonly adapter: AdapterDescription;
  readonly device: GPUDevice;
  readonly kernelClass: KernelClass;
  readonly hasHalves: boolean;
  readonly maxBindingBytes: number;
  readonly offsetAlignment: number;
  readonly #peers: Peers | undefined;
  #isAlone = false;
  readonly choices: Choices<GpuArray>;
  readonly profiler: Profiler | undefined;
  readonly pool: BufferPool;
  readonly queue: CommandQueue;
  /** The most bytes of one buffer: asking the device each time is slow. */
  readonly #maxBufferBytes: number;
  readonly #guardBytes: number;
  readonly #pipelines: PipelineCache;
  readonly #readBack: ReadBack;
  readonly #hostChanges: HostChanges;
  #failure: Error | undefined;
  #closed = false;

  constructor(
    device: GPUDevice,
    adapter: AdapterDescription,
    options: GpuOptions & { readonly choices?: Choices<GpuArray> | undefined },
  ) {
    this.device = device;
    this.adapter = adapter;
    const { kernels = "auto", peers } = options;
    this.#peers = peers && peers.size > 1 ? peers : undefined;
    this.kernelClass = kernels !== "auto" ? kernels : adapter.isFallback ? "direct" : "shared";
    this.hasHalves = this.kernelClass === "shared" && device.features.has("shader-f16");
    this.maxBindingBytes = Math.min(
      device.limits.maxStorageBufferBindingSize,
      options.maxBindingBytes ?? Infinity,
    );
    this.#maxBufferBytes = device.limits.maxBufferSize;
    this.offsetAlignment = device.limits.minStorageBufferOffsetAlignment;
    this.#guardBytes = options.guardBytes ?? 0;
    const profiler = () => new Profiler(device, () => this.check());
    this.profiler = options.profile ? profiler() : undefined;
    this.choices = options.choices ?? new Choices(options.autotune ? profiler() : undefined);
    this.queue = new CommandQueue(device, {
      profiler: this.profiler,
      guardBytes: this.#guardBytes,
      maxSubmitSeconds: options.maxSubmitSeconds ??
        (adapter.isFallback ? Infinity : LONGEST_SUBMISSION),
      onFailure: (error) => this.#fail(error),
    });
    // With peers every wait holds up all of them.
    const map = this.peers ? mapEarly : mapForReading;
    this.#readBack = new ReadBack(device, this.queue, this.#guardBytes, map);
    this.#hostChanges = new HostChanges(device, this.queue);
    this.#pipelines = new PipelineCache(
      device,
      this.queue.paramsLayout,
      (error) => this.#fail(error),
    );
    this.pool = new BufferPool(device, options.memoryBudget ?? Infinity, {
      beforeDestroy: () => this.queue.flush(),
      destroy: (storage) => {
        this.queue.bindGroups.forget(storage);
        this.queue.whenSubmitted(() => storage.buffer.destroy());
      },
    });
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const { message } = (event as GPUUncapturedErrorEvent).error;
      this.#failUnlessBuilds(new GpuError(`The GPU reported an error: ${message}`));
    });
    device.lost.then(({ reason, message }) => {
      if (!this.#closed) {
        this.#fail(
          new GpuError(
            `The GPU device was lost (${reason}): ${message}; open it anew and go on from what was saved`,
          ),
        );
      }
    });
  }

  get memory(): MemoryUse {
    return this.pool.use;
  }

  get hostTimes(): Readonly<HostTimes> {
    return this.#hostChanges.times;
  }

  resetPeak(): void {
    this.pool.resetPeak();
  }

  empty(shape: Shape, label: string): GpuArray<"f32">;
  empty<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  empty(shape: Shape, label: string, dtype: DType = "f32"): AnyArray {
    return this.#allocate(shape, label, dtype);
  }

  /** A new array; where `idle`, of memory that the open encoder does not use. */
  #allocate<D extends DType>(shape: Shape, label: string, dtype: D, idle = false): GpuArray<D> {
    this.check();
    const bytes = Math.max(4, elementCount(shape) * 4);
    if (bytes > this.#maxBufferBytes) {
      throw new MemoryError(
        `Cannot allocate "${label}" as one buffer holds at most ${
          formatBytes(this.#maxBufferBytes)
        } on this adapter and it needs ${formatBytes(bytes)}: use smaller batches or crops`,
      );
    }
    const busy = idle ? this.queue.serial : undefined;
    const storage = this.pool.acquire(bytes + this.#guardBytes, label, busy);
    if (this.#guardBytes > 0) {
      this.queue.write(storage, bytes, new Uint32Array(this.#guardBytes / 4).fill(SENTINEL));
    }
    return new GpuArray(this, storage, { shape, dtype, label });
  }

  zeros(shape: Shape, label: string): GpuArray<"f32">;
  zeros<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  zeros(shape: Shape, label: string, dtype: DType = "f32"): AnyArray {
    const array = this.empty(shape, label, dtype);
    this.clear(array);
    return array;
  }

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

  clear(array: AnyArray): void {
    this.check();
    this.queue.clear(array.storage, array.byteOffset, array.byteLength);
    this.pool.dropDerived(array.storage);
  }

  copy(from: AnyArray, to: AnyArray): void {
    if (from.size !== to.size) {
      throw new TypeError(
        `Cannot copy "${from.label}" to "${to.label}" as they have ${from.size} and ${to.size} elements`,
      );
    }
    this.check();
    this.queue.copy(from, to);
    this.pool.dropDerived(to.storage);
  }

  readLater(arrays: readonly AnyArray[]): () => Promise<HostData[]> {
    this.check();
    const read = this.#readBack.later(arrays, () => this.#pipelines.built());
    // An error of the GPU says more than that of the transfer which it made fail.
    return () => read().finally(() => this.check());
  }

  onHost(arrays: readonly GpuArray[], change: (numbers: Float32Array) => Promise<void>): void {
    this.check();
    // Arrays may be released until then: what takes their memory does so in what is enqueued later.
    const places = arrays.map(({ storage, byteOffset, byteLength, label }) => {
      return { storage, byteOffset, byteLength, label };
    });
    this.queue.onHost(places.map(({ storage }) => storage), async () => {
      await this.#pipelines.built();
      this.check();
      await this.#hostChanges.run(places, change);
    });
    for (const { storage } of arrays) this.pool.dropDerived(storage);
  }

  async readAll(arrays: readonly AnyArray[]): Promise<HostData[]> {
    return await this.readLater(arrays)();
  }

  run(
    kernel: Kernel,
    arrays: readonly AnyArray[],
    params: readonly number[],
    grid: readonly [number, number, number],
    flops: number,
  ): void {
    this.check();
    this.queue.dispatch(this.#pipelines.get(kernel), arrays, params, grid, flops);
    for (let i = 0; i < arrays.length; i++) {
      if (kernel.arrays[i]?.written) this.pool.dropDerived((arrays[i] as AnyArray).storage);
    }
  }

  get peers(): Peers | undefined {
    return this.#isAlone ? undefined : this.#peers;
  }

  alone<T>(record: () => T): T {
    const before = this.#isAlone;
    this.#isAlone = true;
    try {
      return record();
    } finally {
      this.#isAlone = before;
    }
  }

  flush(): void {
    this.check();
    this.queue.flush();
  }

  async finish(): Promise<void> {
    this.flush();
    await this.#pipelines.built();
    await this.queue.submitted();
    const done = this.queue.work.wait();
    await this.device.queue.onSubmittedWorkDone();
    this.check();
    done();
  }

  check(): void {
    if (this.#failure) throw this.#failure;
    if (this.#closed) throw new GpuError("Cannot use the GPU after close(): open it anew");
  }

  /**
   * Keeps what WebGPU reports, unless a kernel that is being built turns out to be broken: that says
   * where, and implementations may tell earlier of what follows from it.
   */
  #failUnlessBuilds(error: Error): void {
    if (this.#pipelines.building) void this.#pipelines.built().then(() => this.#fail(error));
    else this.#fail(error);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readBack.close();
    this.#hostChanges.close();
    this.device.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
