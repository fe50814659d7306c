// Softmax over channels.

import {
  logSoftmaxBackward,
  logSoftmaxForward,
  softmaxBackward,
  softmaxForward,
} from "../../kernels/softmax.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Softmax over the channels of [N, K, H, W].
 *
 * @param scale Factor of `x`, the inverse of a temperature.
 * @throws {TypeError} If `x` has another number of axes.
 */
export function softmax(x: Tensor, scale = 1): Tensor {
  const output = softmaxForward(x.array, scale);
  return record("softmax", output, [x], [output], (gradOutput) => [
    softmaxBackward(gradOutput, output, scale),
  ]);
}

/**
 * Logarithm of the softmax over the channels of [N, K, H, W].
 *
 * @param scale Factor of `x`, the inverse of a temperature.
 * @throws {TypeError} If `x` has another number of axes.
 */
export function logSoftmax(x: Tensor, scale = 1): Tensor {
  const output = logSoftmaxForward(x.array, scale);
  return record("log_softmax", output, [x], [output], (gradOutput) => [
    logSoftmaxBackward(gradOutput, output, scale),
  ]);
}
