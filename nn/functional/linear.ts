// Affine map of vectors.

import {
  linearForward,
  linearInputGradient,
  linearParameterGradients,
} from "../../kernels/linear.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Affine map, y = x weightᵀ + bias.
 *
 * @param x [N, I].
 * @param weight [O, I].
 * @param bias [O], or null.
 * @returns [N, O].
 * @throws {TypeError} If the shapes do not fit each other.
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const output = linearForward(x.array, weight.array, bias?.array ?? null);
  const saved = [x.array, weight.array] as const;
  return record("linear", output, [x, weight, bias], saved, (gradOutput, needs) => {
    const [ofInput = false, ofWeight = false, ofBias = false] = needs;
    const input = ofInput ? linearInputGradient(gradOutput, saved[1]) : null;
    const parameters = linearParameterGradients(gradOutput, saved[0], {
      weight: ofWeight,
      bias: ofBias,
    });
    return [input, parameters.weight, parameters.bias];
  });
}
