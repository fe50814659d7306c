// Element-wise functions, sums, and the product of channels with their own factors.

import {
  addForward,
  addReluForward,
  leakyReluBackward,
  leakyReluForward,
  mulForward,
  scaleForward,
  sigmoidBackward,
  sigmoidForward,
} from "../../kernels/elementwise.ts";
import { multiplyPlanes } from "../../kernels/plane_maps.ts";
import { planeDots } from "../../kernels/plane_sums.ts";
import { sumBackward, sumForward } from "../../kernels/reduce.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { Activation } from "../activation.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/** `max(x, 0)`; the gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  return leakyRelu(x, 0);
}

/**
 * `x` where positive, else `slope * x`.
 *
 * @throws {RangeError} If the slope is negative.
 */
export function leakyRelu(x: Tensor, slope: number): Tensor {
  if (!(slope >= 0)) {
    throw new RangeError(`Cannot run leaky_relu as its slope must not be negative: it is ${slope}`);
  }
  // The backward reads the output, which the next operation keeps anyway.
  const output = leakyReluForward(x.array, slope);
  return record(
    "leaky_relu",
    output,
    [x],
    [output],
    (gradOutput) => [leakyReluBackward(gradOutput, output, slope)],
  );
}

/** `1 / (1 + exp(-x))`. */
export function sigmoid(x: Tensor): Tensor {
  const output = sigmoidForward(x.array);
  return record(
    "sigmoid",
    output,
    [x],
    [output],
    (gradOutput) => [sigmoidBackward(gradOutput, output)],
  );
}

/**
 * `a + b`.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function add(a: Tensor, b: Tensor): Tensor {
  const output = addForward(a.array, b.array);
  return record("add", output, [a, b], [], (gradOutput, needs) => both(gradOutput, needs));
}

/**
 * `relu(a + b)` in one pass, the end of a residual block.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function addRelu(a: Tensor, b: Tensor): Tensor {
  const output = addReluForward(a.array, b.array);
  const kept = new Activation(output);
  return record("add_relu", output, [a, b], [kept], (gradOutput, needs) => {
    using signs = kept.open();
    const gradient = leakyReluBackward(gradOutput, signs, 0);
    const gradients = both(gradient, needs);
    gradient.release();
    return gradients;
  });
}

/**
 * One gradient for both inputs of a sum, as views: the tape sums into a copy where it is shared.
 */
function both(gradient: GpuArray, needs: readonly boolean[]): (GpuArray | null)[] {
  return needs.map((need) => (need ? gradient.view(gradient.shape) : null));
}

/**
 * `a * b`, element by element.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function mul(a: Tensor, b: Tensor): Tensor {
  const output = mulForward(a.array, b.array);
  return record("mul", output, [a, b], [a.array, b.array], (gradOutput, [needsA, needsB]) => [
    needsA ? mulForward(gradOutput, b.array) : null,
    needsB ? mulForward(gradOutput, a.array) : null,
  ]);
}

/**
 * Every channel of every image times its own factor, as in squeeze-excite.
 *
 * @param x [N, C, H, W].
 * @param factor [N, C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function mulChannels(x: Tensor, factor: Tensor): Tensor {
  const output = multiplyPlanes(x.array, factor.array);
  const kept = new Activation(x.array);
  const saved = [kept, factor.array];
  return record("mul_channels", output, [x, factor], saved, (gradOutput, [needsX, needsFactor]) => {
    using input = kept.open();
    return [
      needsX ? multiplyPlanes(gradOutput, factor.array) : null,
      needsFactor ? planeDots(gradOutput, input) : null,
    ];
  });
}

/** `x * factor`. */
export function scale(x: Tensor, factor: number): Tensor {
  return record(
    "scale",
    scaleForward(x.array, factor),
    [x],
    [],
    (gradOutput) => [scaleForward(gradOutput, factor)],
  );
}

/** Sum of all elements, of shape []. */
export function sum(x: Tensor): Tensor {
  const { shape } = x;
  return record(
    "sum",
    sumForward(x.array),
    [x],
    [],
    (gradOutput) => [sumBackward(gradOutput, shape, 1)],
  );
}

/**
 * Mean of all elements, of shape [].
 *
 * @throws {RangeError} If there are none.
 */
export function mean(x: Tensor): Tensor {
  const { shape } = x;
  const { size } = x.array;
  if (size === 0) throw new RangeError("Cannot run mean as its input has no elements");
  const total = sumForward(x.array);
  const output = scaleForward(total, 1 / size);
  total.release();
  return record(
    "mean",
    output,
    [x],
    [],
    (gradOutput) => [sumBackward(gradOutput, shape, 1 / size)],
  );
}
