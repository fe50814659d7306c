// SGD with momentum and weight decay; the formula is in the WGSL.

import {
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./sgd.wgsl" with { type: "text" };

const shared = {
  file: "kernels/sgd.wgsl",
  source,
  writes: ["weight", "velocity"],
  params: { count: "u32", stride: "u32", learningRate: "f32", momentum: "f32", weightDecay: "f32" },
} as const;
const step = defineKernel({ ...shared, name: "sgd.step", entry: "step", reads: ["grad"] });
const stepScaled = defineKernel({
  ...shared,
  name: "sgd.step_scaled",
  entry: "step_scaled",
  reads: ["grad", "scaling"],
});
const { RUN } = wgslConstants(step, "RUN");

/** Numbers of one SGD step. */
export interface SgdOptions {
  /** Factor of the velocity in the update. */
  readonly learningRate: number;
  /** Factor of the old velocity. */
  readonly momentum: number;
  /** L2 penalty, added to the gradient. */
  readonly weightDecay: number;
}

/**
 * One step of SGD with momentum, in place: `velocity = momentum * velocity + grad +
 * weightDecay * weight`, then `weight -= learningRate * velocity`. All are of one size.
 *
 * @param scaling The state of `judgeLossScale`, whose factor multiplies the gradient; null for none.
 */
export function sgdStep(
  weight: GpuArray,
  velocity: GpuArray,
  grad: GpuArray,
  options: SgdOptions,
  scaling: GpuArray | null = null,
): void {
  const stride = strideFor(step, weight.gpu);
  sliceByElement([grad], [weight, velocity], ([grad], [weight, velocity]) => {
    const params = { count: grad.size, stride, ...options };
    const arrays = { grad, weight, velocity };
    const invocations = Math.ceil(grad.size / RUN);
    if (scaling) dispatch(stepScaled, { ...arrays, scaling }, params, invocations);
    else dispatch(step, arrays, params, invocations);
  });
}
