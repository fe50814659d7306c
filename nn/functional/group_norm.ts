// Group normalisation.

import { groupNormBackward, groupNormForward } from "../../kernels/group_norm.ts";
import { Activation } from "../activation.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Group normalisation (Wu and He, 2018): every group of channels of every image by itself.
 *
 * @param x [N, C, H, W].
 * @param weight [C].
 * @param bias [C].
 * @param options `groups` divides C; `eps` is added to the variance (default 1e-5); `relu` applies
 *   a ReLU in the same pass.
 * @throws {TypeError} If the parameters are not [C].
 * @throws {RangeError} If `groups` does not divide C.
 */
export function groupNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  { groups, eps = 1e-5, relu = false }: {
    readonly groups: number;
    readonly eps?: number;
    readonly relu?: boolean;
  },
): Tensor {
  const forward = groupNormForward(x.array, weight.array, bias.array, { groups, eps, relu });
  const kept = new Activation(x.array);
  const result = record(
    "group_norm",
    forward.output,
    [x, weight, bias],
    [kept, weight.array, forward.coefficients],
    (gradOutput, [needsInput = false], into) => {
      const to = { weight: into[1] || true, bias: into[2] || true } as const;
      const options = { groups, needsInput, ...to };
      using input = kept.open();
      const gradients = groupNormBackward(gradOutput, input, weight.array, forward, options);
      return [gradients.gradInput, gradients.gradWeight, gradients.gradBias];
    },
  );
  forward.coefficients.release();
  return result;
}
