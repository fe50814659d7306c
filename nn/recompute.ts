// Recomputation: a block that keeps no activations and runs again in the backward.
//
// Chen et al., Training deep nets with sublinear memory cost, 2016. A second run costs a forward
// and saves everything that the block's operations would have kept. It must give the bits of the
// first, so what a run changes or counts (running statistics, the passes of a dropout) goes through
// `once`.

import { GpuArray } from "../kernels/runtime/mod.ts";
import { Activation } from "./activation.ts";
import { computeIn, currentPrecision } from "./precision.ts";
import { refusePromise } from "./synchronous.ts";
import {
  type Backward,
  backward,
  noGrad,
  recordingState,
  recordNode,
  scope,
  withRecording,
} from "./tape.ts";
import { Tensor } from "./tensor.ts";

/** What the first run of a block has kept for the second. */
class Notes {
  readonly #values: (GpuArray | number)[] = [];
  /** The notes around these: those of a block in which the block lies. */
  readonly #parent = current;
  #next: number | undefined;

  /** Runs `fn` with these notes open, to be written, or to be read from the first. */
  open<T>(mode: "write" | "read", fn: () => T): T {
    const before = current;
    this.#next = mode === "read" ? 0 : undefined;
    current = this;
    try {
      return fn();
    } finally {
      current = before;
    }
  }

  /** What `make` returns, or the next of the values where they are read. */
  take<T extends GpuArray | number>(make: () => T): T {
    if (this.#next !== undefined) {
      const value = this.#values[this.#next++] as T;
      if (value instanceof GpuArray) value.retain();
      return value;
    }
    const made = this.#parent ? this.#parent.take(make) : make();
    if (made instanceof GpuArray) made.retain();
    this.#values.push(made);
    return made;
  }

  /** The arrays among the values. */
  get arrays(): GpuArray[] {
    return this.#values.filter((value) => value instanceof GpuArray);
  }

  /** Lets go of the arrays. */
  [Symbol.dispose](): void {
    for (const array of this.arrays) array.release();
  }
}

let current: Notes | undefined;

/**
 * What `make` returns; when a block runs for the second time, what it returned in the first, so
 * that its side effects happen once. An array is the caller's own reference.
 *
 * @throws {TypeError} If `make` returns a promise.
 */
export function once<T extends GpuArray | number>(make: () => T): T {
  const made = () => refusePromise("once", "a second run would not wait for it", make());
  return current ? current.take(made) : made();
}

/**
 * Runs a block without keeping its activations; the backward runs it again. Gradients have the same
 * bits as without, as long as `fn` does the same every time and leaves its side effects to
 * {@link once}.
 *
 * @param inputs What the block is computed from, besides parameters.
 * @param fn The block: from the inputs to one tensor. It disposes what it makes in between.
 * @throws {TypeError} If `fn` returns a promise: the backward would not wait for it.
 */
export function recompute(
  inputs: readonly Tensor[],
  fn: (...inputs: Tensor[]) => Tensor,
): Tensor {
  const precision = currentPrecision();
  const run = (inputs: readonly Tensor[]) =>
    computeIn(
      precision,
      () => refusePromise("recompute", "the backward would not wait for it", fn(...inputs)),
    );
  const before = recordingState();
  if (!before.recording) return run(inputs);
  using notes = new Notes(); // the node retains what it keeps of them
  const output = notes.open("write", () => noGrad(() => run(inputs)));
  const kept = inputs.map(({ array }) => new Activation(array));
  const runAgain: Backward = (gradOutput, needs) =>
    scope(() => {
      using stack = new DisposableStack();
      const copies = kept.map((activation, index) =>
        stack.use(new Tensor(activation.open(), { requiresGrad: needs[index] ?? false }))
      );
      const again = notes.open("read", () => withRecording(true, () => run(copies)));
      backward(again, gradOutput.retain());
      return copies.map(({ grad }) => grad?.retain() ?? null);
    });
  // Parameters are no inputs: whether a gradient leads to one shows only inside.
  const leads = recordingState().differentiable > before.differentiable;
  const result = leads
    ? recordNode("recompute", output.array.retain(), inputs, [...kept, ...notes.arrays], runAgain)
    : output;
  if (leads && !inputs.includes(output)) output.dispose();
  return result;
}
