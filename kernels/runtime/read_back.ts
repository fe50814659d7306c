// Arrays on their way to the host: one transfer through a staging buffer that is kept for the next.

import type { AnyArray } from "./array.ts";
import { GpuError } from "./errors.ts";
import type { CommandQueue } from "./queue.ts";
import { formatBytes } from "./shape.ts";

/** Stands behind guarded arrays: a NaN, so that a kernel that reads past its array shows it too. */
export const SENTINEL = 0x7fc0dead;

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
   * Reads arrays after everything enqueued before has run.
   *
   * @param built Waits for the pipelines of what has been enqueued.
   * @throws {GpuError} If the transfer fails.
   * @throws {Error} If a guard was overwritten.
   */
  async read(
    arrays: readonly AnyArray[],
    built: () => Promise<void>,
  ): Promise<(Float32Array | Uint32Array)[]> {
    const lengths = arrays.map((array) => array.byteLength + this.#guardBytes);
    const total = Math.max(4, lengths.reduce((sum, length) => sum + length, 0));
    const staging = this.#take(total);
    let offset = 0;
    arrays.forEach((array, index) => {
      // A slice is followed by its neighbours, not by a guard: copy what the buffer holds.
      const bytes = Math.min(
        lengths[index] as number,
        array.storage.capacity - array.byteOffset,
      );
      this.#queue.copyBytes(array.storage, array.byteOffset, staging, offset, bytes);
      offset += lengths[index] as number;
    });
    this.#queue.flush();
    const done = this.#queue.work.wait();
    const mapped = Math.ceil(total / 8) * 8;
    try {
      await built();
      await staging.mapAsync(GPUMapMode.READ, 0, mapped);
      done();
    } catch (cause) {
      if (await isLost(this.#device)) throw cause; // the device says more
      throw new GpuError(
        `Cannot read back "${arrays[0]?.label}" as the GPU did not give ${formatBytes(total)} to ` +
          `the host (${
            (cause as Error).message
          }): it may be out of memory; use smaller batches or crops`,
        { cause },
      );
    }
    const bytes = staging.getMappedRange(0, mapped).slice(0, total);
    staging.unmap();
    this.#keep(staging);
    offset = 0;
    return arrays.map((array, index) => {
      const { dtype, size } = array;
      const data = dtype === "f32"
        ? new Float32Array(bytes, offset, size)
        : new Uint32Array(bytes, offset, size);
      if (this.#guardBytes > 0 && array.byteOffset === 0) {
        this.#checkGuard(array, new Uint32Array(bytes, offset + size * 4, this.#guardBytes / 4));
      }
      offset += lengths[index] as number;
      return arrays.length === 1 ? data : data.slice();
    });
  }

  #checkGuard(array: AnyArray, guard: Uint32Array): void {
    const whole = array.storage.capacity >= array.byteLength + this.#guardBytes;
    if (whole && array.size > 0 && guard.some((word) => word !== SENTINEL)) {
      throw new Error(`A kernel wrote past the end of "${array.label}"`);
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
