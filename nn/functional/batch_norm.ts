// Batch normalisation.

import { batchNormBackward, batchNormCoefficients } from "../../kernels/batch_norm.ts";
import { normalisePlanes } from "../../kernels/plane_maps.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { Activation } from "../activation.ts";
import { once } from "../recompute.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Batch normalisation over N, H and W (Ioffe and Szegedy, 2015), as PyTorch's `batch_norm`.
 *
 * In training the batch gives mean and variance, and moves the running ones in place. Otherwise the
 * running ones are used and stay; gradients flow all the same, which is what a frozen layer needs.
 *
 * @param x [N, C, H, W].
 * @param affine Weight and bias, [C] each.
 * @param running Mean and unbiased variance, [C] each.
 * @param options `training`; `momentum` weights the batch in the running statistics (default 0.1);
 *   `eps` is added to the variance (default 1e-5); `relu` applies a ReLU in the same pass.
 * @throws {TypeError} If the parameters are not [C].
 * @throws {RangeError} In training, if the batch has a single value per channel.
 */
export function batchNorm(
  x: Tensor,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor },
  { runningMean, runningVar }: { readonly runningMean: GpuArray; readonly runningVar: GpuArray },
  { training, momentum = 0.1, eps = 1e-5, relu = false }: {
    readonly training: boolean;
    readonly momentum?: number;
    readonly eps?: number;
    readonly relu?: boolean;
  },
): Tensor {
  const arrays = {
    weight: weight.array,
    bias: bias.array,
    runningMean,
    runningVariance: runningVar,
  };
  // A recomputed block takes the statistics of its first run, and moves the running ones once.
  const coefficients = once(() =>
    batchNormCoefficients(x.array, arrays, { training, momentum, eps })
  );
  const forward = { coefficients, relu };
  const kept = new Activation(x.array);
  const result = record(
    "batch_norm",
    normalisePlanes(x.array, forward),
    [x, weight, bias],
    [kept, coefficients],
    (gradOutput, [needsInput = false]) => {
      const options = { training, needsInput };
      using input = kept.open();
      const gradients = batchNormBackward(gradOutput, input, forward, options);
      return [gradients.gradInput, gradients.gradWeight, gradients.gradBias];
    },
  );
  coefficients.release();
  return result;
}
