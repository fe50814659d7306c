// Tensor: a GPU array that may have a gradient.

import type { Gpu, GpuArray, Shape } from "../kernels/runtime/mod.ts";

/**
 * An operation that made a tensor: what it was computed from, and how its gradient flows back. The
 * tape makes them and walks them.
 *
 * @internal
 */
export interface TapeNode {
  /** Grows with every operation: a larger one is newer. */
  readonly id: number;
  /** What the operation was computed from; null where no gradient leads on. */
  readonly inputs: readonly (Tensor | null)[];
  /** Sum of the gradients that have arrived so far. */
  gradient: GpuArray | null;
  /**
   * The gradients of the inputs, each a new array; null where there is none, or where it was added
   * to an earlier one.
   *
   * @throws {Error} If the node was freed, or its backward returns what does not fit the inputs.
   */
  run(gradOutput: GpuArray): readonly (GpuArray | null)[];
  /** Lets go of the saved arrays. */
  free(): void;
}

/**
 * A tensor of 32-bit floats, [N, C, H, W] where it holds images.
 *
 * A tensor that an operation returns remembers how it was computed, when any input requires a
 * gradient; `backward` follows that and fills `grad` of the leaves that require one.
 */
export class Tensor {
  /** Whether `backward` stores a gradient here. */
  requiresGrad: boolean;
  /**
   * Sum of the gradients since it was last cleared. The array is the optimiser's, where there is one:
   * copy what must outlive {@link Tensor.zeroGrad}.
   */
  grad: GpuArray | null = null;
  /**
   * Where the gradient is to lie, of the tensor's shape: an optimiser keeps those of its parameters
   * side by side. After {@link Tensor.zeroGrad}, the next gradient overwrites what it holds.
   *
   * @internal
   */
  gradPlace: GpuArray | null = null;
  /**
   * The operation that made the tensor, where one was recorded.
   *
   * @internal
   */
  node: TapeNode | undefined;
  #array: GpuArray;
  #disposed = false;

  /** Takes over the caller's reference of `array`. */
  constructor(array: GpuArray, options: { readonly requiresGrad?: boolean } = {}) {
    this.#array = array;
    this.requiresGrad = options.requiresGrad ?? false;
  }

  /** The numbers. */
  get array(): GpuArray {
    return this.#array;
  }

  /**
   * Copies the numbers to `place`, of the same shape, where they lie from now on; takes it over.
   */
  moveTo(place: GpuArray): void {
    place.gpu.copy(this.#array, place);
    this.#array.release();
    this.#array = place;
  }

  /** Length of each axis. */
  get shape(): Shape {
    return this.array.shape;
  }

  /** The device. */
  get gpu(): Gpu {
    return this.array.gpu;
  }

  /** Whether the tensor was given up; an operation may still hold its memory for the backward. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Drops the gradient. */
  zeroGrad(): void {
    this.grad?.release();
    this.grad = null;
  }

  /** Copies the numbers to the host. */
  read(): Promise<Float32Array> {
    return this.array.read();
  }

  /** Gives the memory back, of the gradient as well. */
  dispose(): void {
    this.#disposed = true;
    this.zeroGrad();
    this.array.release();
  }

  /** Same as {@link Tensor.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Uploads numbers as a tensor.
 *
 * @throws {TypeError} If the length is not that of the shape.
 */
export function tensor(
  gpu: Gpu,
  data: Float32Array | readonly number[],
  shape: Shape,
  options: { readonly requiresGrad?: boolean; readonly label?: string } = {},
): Tensor {
  const floats = data instanceof Float32Array ? data : Float32Array.from(data);
  return new Tensor(gpu.upload(floats, shape, options.label ?? "tensor"), options);
}
