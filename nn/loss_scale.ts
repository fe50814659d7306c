// Loss scaling: gradients of a network that computes in halves are kept in their range.

import { judgeLossScale } from "../kernels/loss_scale.ts";
import { countNonfinite } from "../kernels/nonfinite.ts";
import type { Gpu, GpuArray } from "../kernels/runtime/mod.ts";
import { backward } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** The first scale, far below the largest half, 65,504, so that early overflows are rare. */
const FIRST = 2 ** 12;
/** Doubling it once more would leave half of the range of 32-bit floats to nothing. */
const LARGEST = 2 ** 24;
/** Steps in a row with finite gradients after which the scale doubles. */
const PATIENCE = 1000;

/**
 * Dynamic loss scaling (Micikevicius et al., "Mixed Precision Training", ICLR 2018): the gradient
 * flows back from a loss times a scale, so that small ones do not vanish in halves, and an optimiser
 * divides by the scale. A step whose gradients overflowed moves nothing, and halves the scale. All of
 * it happens on the GPU: nothing waits for it.
 */
export class LossScale {
  readonly #state: GpuArray;

  /** Starts at {@link FIRST}. */
  constructor(gpu: Gpu) {
    this.#state = gpu.upload(new Float32Array([FIRST, 0, 1 / FIRST]), [3], "loss scale");
  }

  /** `backward` of the loss times the scale. */
  backward(loss: Tensor): void {
    const { gpu } = loss;
    const gradient = gpu.empty([], "scaled gradient of the loss");
    using scale = this.#state.slice(0, 1);
    gpu.copy(scale, gradient);
    backward(loss, gradient);
  }

  /**
   * Decides by a step's gradients whether it counts, and moves the scale.
   *
   * @returns What the kernels of optimisers take: the scale, and the factor of the gradients.
   */
  judge(gradients: Iterable<GpuArray>): GpuArray {
    using found = countNonfinite(this.#state.gpu, gradients);
    judgeLossScale(this.#state, found, { patience: PATIENCE, largest: LARGEST });
    return this.#state;
  }

  /** The array that the next step depends on: its own, not a copy. */
  get state(): GpuArray {
    return this.#state;
  }

  /** Frees the state. */
  dispose(): void {
    this.#state.release();
  }

  /** Same as {@link LossScale.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
