// Arrays on their way to the host: one transfer through a staging buffer that is kept for the next.

import type { AnyArray } from "./array.ts";
import { GpuError } from "./errors.ts";
import type { CommandQueue } from "./queue.ts";
import { type DType, formatBytes } from "./shape.ts";

/** Stands behind guarded arrays: a NaN, so that a kernel that reads past its array shows it too. */
export const SENTINEL = 0x7fc0dead;

/** Numbers of an array on the host. */
export type HostData = Float32Array | Uint32Array;

/** An array in a transfer. */
interface Part {
  readonly label: string;
  readonly dtype: DType;
  readonly size: number;
  /** Where it lies, in bytes. */
  readonly offset: number;
  /** Whether its guard follows it. */
  readonly isGuarded: boolean;
}

/** Copies arrays to the host. */
export class ReadBack {
  readonly #device: GPUDevice;
  readonly #queue: CommandQueue;
  readonly #guardBytes: number;
  #staging: GPUBuffer | undefined;
  #closed = false;

  /** `guardBytes` of sentinel behind every array are read with it and checked. */
  constructor(device: GPUDevice, queue: CommandQueue, guardBytes: number) {
    this.#device = device;
    this.#queue = queue;
    this.#guardBytes = guardBytes;
  }

  /**
   * Enqueues the copy of arrays. Deno's `mapAsync` stops the thread until the GPU has run all that
   * was submitted, so the wait begins when the next submission is ready: the GPU has that to go on
   * with at once.
   *
   * @param built Waits for the pipelines of what has been enqueued.
   * @returns Waits for the numbers.
   */
  later(arrays: readonly AnyArray[], built: () => Promise<void>): () => Promise<HostData[]> {
    const lengths = arrays.map((array) => array.byteLength + this.#guardBytes);
    const total = Math.max(4, lengths.reduce((sum, length) => sum + length, 0));
    const staging = this.#take(total);
    let offset = 0;
    const parts = arrays.map((array, index): Part => {
      const { storage, byteOffset, label, dtype, size } = array;
      const length = lengths[index] as number;
      // A slice is followed by its neighbours, not by a guard: copy what the buffer holds.
      const bytes = Math.min(length, storage.capacity - byteOffset);
      this.#queue.copyBytes(storage, byteOffset, staging, offset, bytes);
      const isGuarded = this.#guardBytes > 0 && byteOffset === 0 && bytes === length && size > 0;
      const part = { label, dtype, size, offset, isGuarded };
      offset += length;
      return part;
    });
    const { serial } = this.#queue;
    let data: Promise<HostData[]> | undefined;
    const begin = () => {
      data ??= this.#receive(staging, total, parts);
      data.catch(() => {}); // for who asks
      return data;
    };
    this.#queue.beforeNextSubmission(begin);
    return async () => {
      if (this.#queue.serial === serial) this.#queue.flush();
      await built();
      await this.#queue.submitted();
      return await begin();
    };
  }

  /**
   * Waits for a transfer and takes the numbers out of it.
   *
   * @throws {GpuError} If the transfer fails.
   * @throws {Error} If a guard was overwritten.
   */
  async #receive(staging: GPUBuffer, total: number, parts: readonly Part[]): Promise<HostData[]> {
    const done = this.#queue.work.wait();
    const mapped = Math.ceil(total / 8) * 8;
    const mapping = staging.mapAsync(GPUMapMode.READ, 0, mapped);
    await arrived(this.#device, mapping, { label: parts[0]?.label, bytes: total });
    done();
    const bytes = staging.getMappedRange(0, mapped);
    const data = parts.map((part) => {
      const { dtype, offset, size } = part;
      if (part.isGuarded) {
        this.#checkGuard(part, new Uint32Array(bytes, offset + size * 4, this.#guardBytes / 4));
      }
      return dtype === "f32"
        ? new Float32Array(bytes, offset, size).slice()
        : new Uint32Array(bytes, offset, size).slice();
    });
    staging.unmap();
    this.#keep(staging);
    return data;
  }

  #checkGuard({ label }: Part, guard: Uint32Array): void {
    if (guard.some((word) => word !== SENTINEL)) {
      throw new Error(`A kernel wrote past the end of "${label}"`);
    }
  }

  #take(bytes: number): GPUBuffer {
    const staging = this.#staging;
    this.#staging = undefined;
    if (staging && staging.size >= bytes) return staging;
    staging?.destroy();
    return this.#device.createBuffer({
      label: "read-back",
      size: Math.ceil(bytes / 65536) * 65536,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  #keep(staging: GPUBuffer): void {
    if (this.#staging || this.#closed) staging.destroy();
    else this.#staging = staging;
  }

  /** Frees the staging buffer. */
  close(): void {
    this.#closed = true;
    this.#staging?.destroy();
  }
}

/**
 * Waits until a transfer to the host has been mapped.
 *
 * @throws {GpuError} If it fails.
 */
export async function arrived(
  device: GPUDevice,
  mapping: Promise<undefined>,
  { label, bytes }: { readonly label: string | undefined; readonly bytes: number },
): Promise<void> {
  try {
    await mapping;
  } catch (cause) {
    if (await isLost(device)) throw cause; // the device says more
    throw new GpuError(
      `Cannot read back "${label}" as the GPU did not give ${formatBytes(bytes)} to ` +
        `the host (${
          (cause as Error).message
        }): it may be out of memory; use smaller batches or crops`,
      { cause },
    );
  }
}

/** How long the news of a lost device may come after the failure of what it was asked, in milliseconds. */
const NEWS_DELAY = 200;

/** Whether the device is lost: that is told a little later than what fails through it. */
async function isLost(device: GPUDevice): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isStillThere = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), NEWS_DELAY);
  });
  try {
    return await Promise.race([device.lost.then(() => true), isStillThere]);
  } finally {
    clearTimeout(timer);
  }
}
