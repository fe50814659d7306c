// GpuArray: a shape and a type over pooled GPU memory, counted by references.

import type { Gpu } from "./gpu.ts";
import type { Storage } from "./pool.ts";
import { elementCount, formatShape, type Shape } from "./shape.ts";

/** Element types that the kernels understand, each four bytes. */
export type DType = "f32" | "u32";

/** The host array of an element type. */
export type HostArray<D extends DType> = { f32: Float32Array; u32: Uint32Array }[D];

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

  /** Whether the array has been given back. */
  get released(): boolean {
    return this.#references === 0;
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
   * An array that is computed from this one and kept until this one is written or released, such as
   * packed weights between two steps of an optimiser.
   *
   * @param key Names the computation and its settings.
   * @param make Computes it where it is not there.
   * @returns A reference of the caller's own.
   */
  derived(key: string, make: () => GpuArray): GpuArray {
    const name = `${key}|${this.byteOffset}|${this.shape.join()}`;
    const kept = this.storage.derived?.get(name);
    if (kept) return kept.retain();
    const made = make();
    this.gpu.pool.keepDerived(this.storage, name, made);
    return made.retain();
  }

  #share(shape: Shape, byteOffset: number, label = this.label): GpuArray<D> {
    const storage = this.storage;
    storage.references++;
    return new GpuArray(this.gpu, storage, { shape, dtype: this.dtype, label, byteOffset });
  }

  /**
   * Zeros of the shapes and names of `arrays`, at least one, one after the other in one buffer, so that
   * {@link GpuArray.spanning} can show all of them to one kernel. Each starts where a kernel can bind it.
   */
  static together(arrays: readonly GpuArray[]): GpuArray[] {
    const { gpu } = arrays[0] as GpuArray;
    const offsets = [0];
    for (const array of arrays) offsets.push(nextOffset(offsets.at(-1) as number, array));
    using all = gpu.zeros([offsets.at(-1) as number / 4], "arrays in one buffer");
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
   * @throws {Error} The first GPU error kept since the last host call.
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
