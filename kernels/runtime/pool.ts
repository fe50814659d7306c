// The buffer pool: a GPUBuffer for every array that is allocated, reused through free lists of
// sizes.
//
// Two allocations never share a buffer: WebGPU refuses a dispatch that writes a buffer which it
// binds twice, even in disjoint ranges. Views, slices and `GpuArray.together` do share one, and
// `dispatch` refuses them where a kernel would write it. Reuse is safe at once, as the queue runs
// in order.

import { MemoryError } from "./errors.ts";
import { formatBytes } from "./shape.ts";
import type { Derived, Storage } from "./storage.ts";

/** Byte counters of a device. */
export interface MemoryUse {
  /** Bytes held by live arrays. */
  readonly live: number;
  /** The part of `live` that holds what `GpuArray.derived` keeps. */
  readonly derived: number;
  /** Bytes kept in free lists for reuse. */
  readonly free: number;
  /** The highest value that `live` has had since {@link Gpu.resetPeak}. */
  readonly peak: number;
  /** The highest value that `live + free` has had since then: the most memory that was taken. */
  readonly peakTaken: number;
  /** The most that `live + free` may reach. */
  readonly budget: number;
}

const SMALLEST = 256;
/** Size classes from one power of two to the next; rounding to them costs a 32nd on average. */
const CLASSES = 16;
/** How many times as large as its class a free buffer may be for an array to take it; measured. */
export const LOOSEST_FIT = 1.5;

/**
 * The size class of a byte length: the next of even steps between powers of two, in steps of 256.
 */
export function sizeClass(bytes: number): number {
  const doublings = Math.max(0, 31 - Math.clz32(bytes / (SMALLEST * CLASSES)));
  const step = SMALLEST * (1 << doublings);
  return Math.max(SMALLEST, Math.ceil(bytes / step) * step);
}

/** Hands out buffers by size, counts their bytes and holds them to a budget. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #freeLists = new Map<number, Storage[]>();
  /** The sizes that have a free list, in order. */
  readonly #sizes: number[] = [];
  /** The most bytes of one buffer. */
  readonly #largest: number;
  readonly #destroy: (storage: Storage) => void;
  readonly #beforeDestroy: () => void;
  #nextId = 0;
  #live = 0;
  #free = 0;
  #peak = 0;
  #peakTaken = 0;
  #derived = 0;
  #loosestFit = LOOSEST_FIT;
  /** The most bytes that live and free buffers may take together. */
  budget: number;

  /** `beforeDestroy` runs once before free buffers are destroyed, `destroy` for each. */
  constructor(
    device: GPUDevice,
    budget: number,
    hooks: { beforeDestroy: () => void; destroy: (storage: Storage) => void },
  ) {
    this.#device = device;
    this.budget = budget;
    // Rounding must not make too large for a buffer what is just small enough.
    this.#largest = Math.floor(device.limits.maxBufferSize / 4) * 4;
    this.#beforeDestroy = hooks.beforeDestroy;
    this.#destroy = hooks.destroy;
  }

  /** Byte counters as they are now. */
  get use(): MemoryUse {
    return {
      live: this.#live,
      derived: this.#derived,
      free: this.#free,
      peak: this.#peak,
      peakTaken: this.#peakTaken,
      budget: this.budget,
    };
  }

  /**
   * A buffer of at least `bytes`, with one reference: a free one that fits closely, or a new one.
   *
   * @param label Names the array in errors.
   * @param busySerial The submission whose buffers are not to be taken, if any.
   * @throws {MemoryError} If it does not fit the budget, even without the free buffers.
   */
  acquire(bytes: number, label: string, busySerial?: number): Storage {
    const capacity = Math.max(bytes, Math.min(sizeClass(bytes), this.#largest));
    const storage = this.#takeFree(capacity, busySerial);
    if (storage) {
      this.#free -= storage.capacity;
      storage.references = 1;
      this.#count(storage.capacity);
      return storage;
    }
    if (this.#live + this.#free + capacity > this.budget) this.trim();
    if (this.#live + capacity > this.budget) {
      throw new MemoryError(
        `Cannot allocate ${formatBytes(bytes)} for "${label}" as the memory budget is ${
          formatBytes(this.budget)
        } and ${
          formatBytes(this.#live)
        } are in use: use smaller batches or crops, or raise \`memoryBudget\``,
        { options: ["memoryBudget"] },
      );
    }
    const buffer = this.#device.createBuffer({
      label,
      size: capacity,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    this.#count(capacity);
    return { id: this.#nextId++, buffer, capacity, references: 1, lastSerial: -1 };
  }

  /**
   * Runs `fn`, which allocates what lives long: nothing in it takes a free buffer that is larger than
   * a new one would be.
   */
  closely<T>(fn: () => T): T {
    this.#loosestFit = 1;
    try {
      return fn();
    } finally {
      this.#loosestFit = LOOSEST_FIT;
    }
  }

  /** The smallest free buffer that fits closely enough and was not used last by `busySerial`. */
  #takeFree(capacity: number, busySerial?: number): Storage | undefined {
    for (let index = this.#placeOf(capacity); index < this.#sizes.length; index++) {
      const size = this.#sizes[index] as number;
      if (size > capacity * this.#loosestFit) return undefined;
      const list = this.#freeLists.get(size) ?? [];
      for (let place = 0; place < list.length; place++) {
        if (list[place]?.lastSerial !== busySerial) return list.splice(place, 1)[0];
      }
    }
    return undefined;
  }

  /** Where a size stands, or would stand, among the sizes of the free lists. */
  #placeOf(size: number): number {
    let [low, high] = [0, this.#sizes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sizes[middle] as number) < size) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Takes back a buffer without references; what is enqueued may still use it. */
  release(storage: Storage): void {
    this.dropDerived(storage);
    storage.memo = undefined;
    this.#live -= storage.capacity;
    this.#free += storage.capacity;
    let list = this.#freeLists.get(storage.capacity);
    if (!list) {
      list = [];
      this.#freeLists.set(storage.capacity, list);
      this.#sizes.splice(this.#placeOf(storage.capacity), 0, storage.capacity);
    }
    // The oldest buffer goes first: equal steps then get equal buffers, and bind groups are reused.
    let place = list.length;
    while (place > 0 && (list[place - 1] as Storage).id > storage.id) place--;
    list.splice(place, 0, storage);
  }

  /** Keeps what was computed from a buffer's contents until they change. */
  keepDerived(storage: Storage, key: string, array: Derived): void {
    (storage.derived ??= new Map()).set(key, array);
    this.#derived += array.storage.capacity;
  }

  /** Gives back what was computed from contents that change. */
  dropDerived(storage: Storage): void {
    const { derived } = storage;
    if (!derived) return;
    storage.derived = undefined;
    for (const array of derived.values()) {
      this.#derived -= array.storage.capacity;
      array.release();
    }
  }

  /** Destroys every free buffer; `destroy()` frees at once, a garbage collection would not. */
  trim(): void {
    if (this.#free === 0) return;
    this.#beforeDestroy();
    for (const list of this.#freeLists.values()) {
      for (const storage of list) this.#destroy(storage);
    }
    this.#freeLists.clear();
    this.#sizes.length = 0;
    this.#free = 0;
  }

  /** Begins the peaks afresh. */
  resetPeak(): void {
    this.#peak = this.#live;
    this.#peakTaken = this.#live + this.#free;
  }

  #count(capacity: number): void {
    this.#live += capacity;
    this.#peak = Math.max(this.#peak, this.#live);
    this.#peakTaken = Math.max(this.#peakTaken, this.#live + this.#free);
  }
}
