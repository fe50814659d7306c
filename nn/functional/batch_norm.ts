// Batch normalisation.

import {
  batchNormBackward,
  batchNormForward,
  batchNormResidualBackward,
} from "../../kernels/batch_norm.ts";
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
 *   `eps` is added to the variance (default 1e-5); `residual`, of the shape of `x`, is added to the
 *   result; `relu` applies a ReLU after all of it. Everything is one pass.
 * @throws {TypeError} If the parameters are not [C], or the residual has another shape.
 * @throws {RangeError} In training, if the batch has a single value per channel.
 */
export function batchNorm(
  x: Tensor,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor },
  { runningMean, runningVar }: { readonly runningMean: GpuArray; readonly runningVar: GpuArray },
  { training, momentum = 0.1, eps = 1e-5, relu = false, residual = null }: {
    readonly training: boolean;
    readonly momentum?: number;
    readonly eps?: number;
    readonly relu?: boolean;
    readonly residual?: Tensor | null;
  },
): Tensor {
  const arrays = {
    weight: weight.array,
    bias: bias.array,
    runningMean,
    runningVariance: runningVar,
  };
  const added = residual?.array ?? null;
  const kept = new Activation(x.array);
  let output: GpuArray | undefined;
  // A recomputed block takes the statistics of its first run, and moves the running ones once.
  const coefficients = once(() => {
    const made = batchNormForward(x.array, arrays, { training, momentum, eps, relu }, added);
    output = made.output;
    return made.coefficients;
  });
  output ??= normalisePlanes(x.array, { coefficients, relu }, added);
  // The output, which the next operation keeps anyway, shows what its ReLU let through.
  const signs = residual && relu ? new Activation(output) : null;
  const saved = [kept, coefficients, ...(signs ? [signs] : [])];
  const inputs = [x, weight, bias, residual];
  const result = record("batch_norm", output, inputs, saved, (gradOutput, needs, into) => {
    const [needsInput = false, , , needsResidual = false] = needs;
    const to = { weight: into[1] || true, bias: into[2] || true } as const;
    const options = { training, needsInput, ...to };
    using input = kept.open();
    if (!signs) {
      const gradients = batchNormBackward(gradOutput, input, { coefficients, relu }, options);
      const gradResidual = needsResidual ? gradOutput.view(gradOutput.shape) : null;
      return [gradients.gradInput, gradients.gradWeight, gradients.gradBias, gradResidual];
    }
    using opened = signs.open();
    const gradients = batchNormResidualBackward(
      gradOutput,
      input,
      { coefficients, output: opened },
      // The tape needs this gradient no more, unless something else holds it too.
      { ...options, overwrite: gradOutput.storage.references === 1 },
    );
    if (!needsResidual) gradients.gradResidual.release();
    const gradResidual = needsResidual ? gradients.gradResidual : null;
    return [gradients.gradInput, gradients.gradWeight, gradients.gradBias, gradResidual];
  });
  coefficients.release();
  return result;
}
