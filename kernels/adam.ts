// Adam with bias correction; the formula is in the WGSL.

import {
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./adam.wgsl" with { type: "text" };

const shared = {
  file: "kernels/adam.wgsl",
  source,
  params: {
    count: "u32",
    stride: "u32",
    learningRate: "f32",
    firstShare: "f32",
    secondShare: "f32",
    eps: "f32",
    weightDecay: "f32",
  },
} as const;
const advance = defineKernel({
  ...shared,
  name: "adam.advance",
  entry: "advance",
  reads: [],
  writes: ["corrections"],
});
const step = defineKernel({
  ...shared,
  name: "adam.step",
  entry: "step",
  reads: ["grad", "corrections"],
  writes: ["weight", "first", "second"],
});
const { RUN } = wgslConstants(step, "RUN");

/** Numbers of one Adam step. */
export interface AdamOptions {
  /** Step size. */
  readonly learningRate: number;
  /** Decay of the first and of the second moment. */
  readonly betas: readonly [number, number];
  /** Added to the root of the second moment. */
  readonly eps: number;
  /** L2 penalty, added to the gradient. */
  readonly weightDecay: number;
}

/** What Adam keeps of one parameter, each of its size. */
export interface AdamMoments {
  /** Moving mean of the gradient. */
  readonly first: GpuArray;
  /** Moving mean of its square. */
  readonly second: GpuArray;
}

/**
 * Moves `corrections` = 1 - betas^t, [2], from one step to the next; from zeros before the first.
 */
export function adamAdvance(corrections: GpuArray, betas: readonly [number, number]): void {
  const params = { ...shares(betas), count: 2, stride: 1, learningRate: 0, eps: 0, weightDecay: 0 };
  dispatch(advance, { corrections }, params, 1);
}

/**
 * One step of Adam (Kingma and Ba, 2015), in place: `weight` and its moments change by `grad`. All
 * are of one size; the formula is in the WGSL.
 *
 * @param corrections [2], moved once a step by {@link adamAdvance}, before the first parameter.
 */
export function adamStep(
  weight: GpuArray,
  { first, second }: AdamMoments,
  grad: GpuArray,
  corrections: GpuArray,
  { learningRate, betas, eps, weightDecay }: AdamOptions,
): void {
  const stride = strideFor(step, weight.gpu);
  const numbers = { ...shares(betas), stride, learningRate, eps, weightDecay };
  sliceByElement([grad], [weight, first, second], ([grad], [weight, first, second]) => {
    const arrays = { grad, corrections, weight, first, second };
    dispatch(step, arrays, { ...numbers, count: grad.size }, Math.ceil(grad.size / RUN));
  });
}

// In doubles: in 32-bit floats, 1 - 0.999 would have four digits.
function shares([firstBeta, secondBeta]: readonly [number, number]) {
  return { firstShare: 1 - firstBeta, secondShare: 1 - secondBeta };
}
