// Batches hold plain arrays; networks take tensors.

import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { record } from "../../nn/tape.ts";
import type { Tensor } from "../../nn/tensor.ts";

/** A constant tensor of an array that stays the caller's; it belongs to the current scope. */
export function input(array: GpuArray): Tensor {
  return record("input", array.retain(), [], [], () => []);
}
