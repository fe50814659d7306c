// The two types that all the rest is written in: Gpu, an open device as everything above the
// runtime sees it, and GpuArray, a shape and a type over its memory. A device makes arrays and an
// array knows its device, so they share this file; what is behind the interface is in device.ts.

import type { Choices } from "./choices.ts";
import type { Kernel } from "./kernel.ts";
import type { HostTimes } from "./on_host.ts";
import type { AdapterDescription, KernelClass, Peers } from "./options.ts";
import type { BufferPool, MemoryUse } from "./pool.ts";
import type { Profiler } from "./profile.ts";
import type { CommandQueue } from "./queue.ts";
import { type DType, elementCount, formatShape, type HostArray, type Shape } from "./shape.ts";
import type { Storage } from "./storage.ts";

/**
 * An open device: memory, kernels and errors. Made by `openGpu`, or by `planningGpu`. Once it is closed
 * or lost, all that it and its arrays are asked throws one and the same {@link GpuError}; only counters
 * and what gives memory back, `release` and `close`, go on.
 */
export interface Gpu extends Disposable {
  /** The adapter behind the device. */
  readonly adapter: AdapterDescription;
  /** The WebGPU device. */
  readonly device: GPUDevice;
  /** How convolutions and matrix products are computed. */
  readonly kernelClass: KernelClass;
  /** Whether kernels of the shared class can multiply in 16-bit floats. */
  readonly hasHalves: boolean;
  /** Most bytes of one array that one binding may show to a kernel. */
  readonly maxBindingBytes: number;
  /** Alignment of slices that kernels bind, in bytes. */
  readonly offsetAlignment: number;
  /** Those who work on the same batches, if anyone does; nobody within {@link Gpu.alone}. */
  readonly peers: Peers | undefined;
  /** Which of several ways launchers take. */
  readonly choices: Choices<GpuArray>;
  /** Times of kernels, when opened with `profile`. */
  readonly profiler: Profiler | undefined;
  /** Byte counters of all arrays. */
  readonly memory: MemoryUse;
  /** Where time has gone in {@link Gpu.onHost}. */
  readonly hostTimes: Readonly<HostTimes>;
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

  /**
   * Records what only this process computes, without its peers.
   *
   * @param record Works at once: what it returns later is recorded with the peers again.
   */
  alone<T>(record: () => T): T;
  /** Begins the peaks of {@link Gpu.memory} afresh, from what is held now. */
  resetPeak(): void;
  /**
   * An array of undefined contents: write all of it.
   *
   * @throws {MemoryError} If it does not fit the budget, or one buffer of the adapter.
   */
  empty(shape: Shape, label: string): GpuArray<"f32">;
  /** An array of undefined contents of the given element type. */
  empty<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  /** An array of zeros. */
  zeros(shape: Shape, label: string): GpuArray<"f32">;
  /** An array of zeros of the given element type. */
  zeros<D extends DType>(shape: Shape, label: string, dtype: D): GpuArray<D>;
  /**
   * Copies host numbers to a new array.
   *
   * @throws {TypeError} If the length is not that of the shape.
   */
  upload<T extends Float32Array | Uint32Array>(
    data: T,
    shape: Shape,
    label: string,
  ): GpuArray<T extends Float32Array ? "f32" : "u32">;
  /** Overwrites an array with host numbers of the same length. */
  write(array: AnyArray, data: Float32Array | Uint32Array): void;
  /** Sets every element to zero. */
  clear(array: AnyArray): void;
  /** Copies one array over another of the same size. */
  copy(from: AnyArray, to: AnyArray): void;
  /**
   * Copies arrays to the host in one transfer, after everything enqueued before has run.
   *
   * @throws {GpuError} The first error that was kept, as errors reach the host late; or if the transfer
   *   fails.
   */
  readAll(arrays: readonly AnyArray[]): Promise<(Float32Array | Uint32Array)[]>;
  /**
   * {@link Gpu.readAll} for numbers that are not needed yet: enqueues the copies, so that the arrays
   * may change or be released, and lets the GPU go on with what is enqueued next.
   *
   * @returns Waits for the numbers; asked before more was submitted, it submits and waits for all.
   * @throws {GpuError} As {@link Gpu.readAll} does.
   */
  readLater(arrays: readonly AnyArray[]): () => Promise<(Float32Array | Uint32Array)[]>;
  /**
   * Hands the numbers of arrays to the host in the middle of what is enqueued, and takes back what it has
   * made of them: what is enqueued before has run, and what is enqueued after sees the changed numbers. The
   * host goes on at once, and the GPU waits for it there. Where the host asks other machines by itself, too,
   * the order must be the same on all of them: it does so after it has read something that was enqueued
   * later, or after {@link Gpu.finish}, when no change is still to come.
   *
   * @param arrays Their numbers count as one row, end to end.
   * @param change Changes a bucket of some megabytes of that row in place. It is called with one after the
   *   other, each once it is done with the one before; which numbers are in one depends on the lengths of
   *   the arrays alone. What it throws is kept, as errors of the GPU are.
   */
  onHost(
    arrays: readonly GpuArray[],
    change: (numbers: Float32Array) => Promise<void>,
  ): void;
  /**
   * Runs a kernel; use `dispatch`, which checks what it is given.
   *
   * @internal
   */
  run(
    kernel: Kernel,
    arrays: readonly AnyArray[],
    params: readonly number[],
    grid: readonly [number, number, number],
    flops: number,
  ): void;
  /**
   * Submits everything recorded so far.
   *
   * @throws {GpuError} An error that was kept.
   */
  flush(): void;
  /**
   * Waits until the GPU has run everything recorded so far.
   *
   * @throws {GpuError} An error that was kept.
   */
  finish(): Promise<void>;
  /**
   * Does nothing while the device works.
   *
   * @throws {GpuError} The first error that was kept, as errors reach the host late; such as the loss
   *   of the device, or {@link Gpu.close}.
   */
  check(): void;
  /** Frees everything; arrays of the device are unusable afterwards. */
  close(): void;
  /** Same as {@link Gpu.close}, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * A contiguous array in GPU memory.
 *
 * Arrays are counted: a new one has one reference, {@link GpuArray.retain} adds one and
 * {@link GpuArray.release} removes one. At zero the memory returns to the pool, and any further use
 * throws. Views and slices share the memory and hold a reference of their own.
 */
export class GpuArray<D extends DType = "f32"> {
  /** The device that holds the data. */
  readonly gpu: Gpu;
  /** Length of each axis, outermost first. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: D;
  /** Name used in errors and profiles. */
  readonly label: string;
  /** Number of elements. */
  readonly size: number;
  /** Offset of the first element in the buffer, in bytes. */
  readonly byteOffset: number;
  readonly #storage: Storage;
  #references = 1;

  /**
   * Use `gpu.empty`, `gpu.zeros` or `gpu.upload`.
   *
   * @internal
   */
  constructor(
    gpu: Gpu,
    storage: Storage,
    layout: { shape: Shape; dtype: D; label: string; byteOffset?: number },
  ) {
    this.gpu = gpu;
    this.#storage = storage;
    this.shape = layout.shape;
    this.dtype = layout.dtype;
    this.label = layout.label;
    this.size = elementCount(layout.shape);
    this.byteOffset = layout.byteOffset ?? 0;
  }

  /** Length in bytes. */
  get byteLength(): number {
    return this.size * 4;
  }

  /**
   * The pooled memory.
   *
   * @throws {Error} After the last release.
   * @internal
   */
  get storage(): Storage {
    if (this.#references === 0) {
      throw new Error(`Cannot use the array "${this.label}" after it was released`);
    }
    return this.#storage;
  }

  /** Adds a reference. */
  retain(): this {
    this.storage.references++;
    this.#references++;
    return this;
  }

  /** Removes a reference; the last one returns the memory to the pool. */
  release(): void {
    const storage = this.storage;
    this.#references--;
    if (--storage.references === 0) this.gpu.pool.release(storage);
  }

  /** Same as {@link GpuArray.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }

  /**
   * The same numbers under another shape.
   *
   * @throws {TypeError} If the shapes differ in size.
   */
  view(shape: Shape): GpuArray<D> {
    if (elementCount(shape) !== this.size) {
      throw new TypeError(
        `Cannot view "${this.label}" as ${formatShape(shape)}: it has ${this.size} elements in ${
          formatShape(this.shape)
        }`,
      );
    }
    return this.#share(shape, this.byteOffset);
  }

  /**
   * `count` rows of the first axis from row `start`, sharing memory.
   *
   * @throws {RangeError} If the rows lie outside the array.
   */
  slice(start: number, count: number): GpuArray<D> {
    const [rows = 0, ...rest] = this.shape;
    if (start < 0 || count < 0 || start + count > rows) {
      throw new RangeError(
        `Cannot slice rows ${start} to ${start + count} of "${this.label}": it has ${rows}`,
      );
    }
    return this.#share([count, ...rest], this.byteOffset + start * elementCount(rest) * 4);
  }

  /**
   * The `size` elements from a byte of the buffer on, whichever arrays they belong to.
   *
   * @internal
   */
  stretch(byteOffset: number, size: number): GpuArray<D> {
    return this.#share([size], byteOffset);
  }

  /**
   * An array that is computed from this one and kept until this one is written or released, such as
   * packed weights between two steps of an optimiser.
   *
   * @param key Names the computation and its settings.
   * @param make Computes it where it is not there.
   * @returns A reference of the caller's own.
   */
  derived(key: string, make: () => GpuArray): GpuArray {
    this.gpu.check();
    const name = `${key}|${this.byteOffset}|${this.shape.join()}`;
    const kept = this.storage.derived?.get(name);
    if (kept) return (kept as GpuArray).retain(); // the pool keeps what this method gave it
    const made = make();
    this.gpu.pool.keepDerived(this.storage, name, made);
    return made.retain();
  }

  #share(shape: Shape, byteOffset: number, label = this.label): GpuArray<D> {
    const storage = this.storage;
    this.gpu.check();
    storage.references++;
    return new GpuArray(this.gpu, storage, { shape, dtype: this.dtype, label, byteOffset });
  }

  /**
   * Zeros of the shapes and names of `arrays`, at least one, one after the other in one buffer, so
   * that {@link GpuArray.spanning} can show all of them to one kernel. Each starts where a kernel
   * can bind it.
   */
  static together(arrays: readonly GpuArray[]): GpuArray[] {
    const { gpu } = arrays[0] as GpuArray;
    const offsets = [0];
    for (const array of arrays) offsets.push(nextOffset(offsets.at(-1) as number, array));
    using all = gpu.pool.closely(() =>
      gpu.zeros([offsets.at(-1) as number / 4], "arrays in one buffer")
    );
    return arrays.map(({ shape, label }, i) => all.#share(shape, offsets[i] as number, label));
  }

  /**
   * All of `arrays` as one, with what lies between them, where they lie one after the other as
   * {@link GpuArray.together} makes them; else null.
   */
  static spanning(arrays: readonly GpuArray[]): GpuArray | null {
    const [first] = arrays;
    if (!first) return null;
    let end = first.byteOffset;
    for (const array of arrays) {
      if (array.storage !== first.storage || array.byteOffset !== end) return null;
      end = nextOffset(end, array);
    }
    return first.#share([(end - first.byteOffset) / 4], first.byteOffset);
  }

  /**
   * Copies the array to the host, after everything enqueued before has run.
   *
   * @throws {GpuError} The first error that was kept, as errors reach the host late; or if the transfer
   *   fails.
   */
  async read(): Promise<HostArray<D>> {
    const [data] = await this.gpu.readAll([this]);
    return data as HostArray<D>;
  }
}

/** Where an array can start that follows one at `offset`. */
function nextOffset(offset: number, { byteLength, gpu }: GpuArray): number {
  return Math.ceil((offset + byteLength) / gpu.offsetAlignment) * gpu.offsetAlignment;
}

/** An array of either element type. */
export type AnyArray = GpuArray<DType>;
