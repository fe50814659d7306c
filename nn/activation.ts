// Activations: what an operation keeps for its backward, in half precision where that is asked for.

import { packHalf, unpackHalf } from "../kernels/half.ts";
import type { GpuArray } from "../kernels/runtime/mod.ts";
import { refusePromise, type Synchronous } from "./synchronous.ts";

/** How activations are kept between forward and backward; arithmetic is in 32-bit floats. */
export type ActivationStorage = "f32" | "f16";

/** Smaller arrays are not worth two more kernels. */
const FEWEST_ELEMENTS = 4096;

let storage: ActivationStorage = "f32";

/**
 * Runs `fn`; what its operations keep for the backward is stored as said.
 *
 * @throws {TypeError} If `fn` returns a promise.
 */
export function storeActivations<T>(
  as: ActivationStorage,
  fn: () => Synchronous<T>,
): Synchronous<T> {
  const before = storage;
  storage = as;
  try {
    const otherwise = `what follows its first await would not be stored as ${as}`;
    return refusePromise("storeActivations", otherwise, fn());
  } finally {
    storage = before;
  }
}

/** An array that a backward will read. The tape retains it with the node, and releases it. */
export class Activation {
  readonly #array: GpuArray;
  #words: GpuArray | undefined;

  /** Takes nothing over: until it is retained, it is not more than a name for the array. */
  constructor(array: GpuArray) {
    this.#array = array;
  }

  /** Keeps the array, or its half: one for all operations that keep it. */
  retain(): this {
    const array = this.#array;
    const packs = storage === "f16" && array.size >= FEWEST_ELEMENTS && array.size % 2 === 0;
    if (packs) this.#words = array.derived("half", () => packHalf(array));
    else array.retain();
    return this;
  }

  /** Lets go of what is kept. */
  release(): void {
    (this.#words ?? this.#array).release();
  }

  /** The array as it was, but for rounding to halves; the caller's own reference. */
  open(): GpuArray {
    const { shape, label } = this.#array;
    return this.#words ? unpackHalf(this.#words, shape, label) : this.#array.retain();
  }
}
