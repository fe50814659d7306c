// The state of dynamic loss scaling; the rules are in the WGSL.

import { defineKernel, dispatch, type GpuArray } from "./runtime/mod.ts";
import source from "./loss_scale.wgsl" with { type: "text" };

const judge = defineKernel({
  name: "loss_scale.judge",
  file: "kernels/loss_scale.wgsl",
  source,
  entry: "judge",
  reads: ["found"],
  writes: ["state"],
  params: { patience: "f32", largest: "f32" },
});

/** Numbers of loss scaling. */
export interface LossScaleOptions {
  /** Steps in a row with finite gradients after which the scale doubles. */
  readonly patience: number;
  /** The largest scale. */
  readonly largest: number;
}

/**
 * Decides what a step does with its gradients, and the scale of the next one.
 *
 * @param state (scale, finite steps since it last changed, factor), [3], in place. A step multiplies
 *   its gradients by the factor; 0 says that it leaves parameters and optimiser as they are.
 * @param found How many elements of the gradients are not finite, a scalar.
 */
export function judgeLossScale(
  state: GpuArray,
  found: GpuArray<"u32">,
  options: LossScaleOptions,
): void {
  dispatch(judge, { found, state }, { ...options }, 1);
}
