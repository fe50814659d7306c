// Maps of vectors, the rows of a matrix.

import {
  linearForward,
  linearInputGradient,
  linearParameterGradients,
} from "../../kernels/dense/linear.ts";
import { matmul as multiply } from "../../kernels/dense/matmul.ts";
import { normaliseRowsBackward, normaliseRowsForward } from "../../kernels/normalise_rows.ts";
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
  return record("linear", output, [x, weight, bias], saved, (gradOutput, _, into) => {
    const [ofInput = false, ofWeight = false, ofBias = false] = into;
    const input = ofInput ? linearInputGradient(gradOutput, saved[1]) : null;
    const parameters = linearParameterGradients(gradOutput, saved[0], {
      weight: ofWeight,
      bias: ofBias,
    });
    return [input, parameters.weight, parameters.bias];
  });
}

/**
 * Products of all rows of one matrix with all rows of another, a bᵀ.
 *
 * @param a [M, C].
 * @param b [N, C]; it may be `a`.
 * @returns [M, N].
 * @throws {TypeError} If an operand is no matrix, or the rows differ in length.
 */
export function dotRows(a: Tensor, b: Tensor): Tensor {
  const output = multiply(a.array, b.array, { transposeB: true });
  const saved = [a.array, b.array] as const;
  return record("dot_rows", output, [a, b], saved, (gradOutput, [needsA, needsB]) => [
    needsA ? multiply(gradOutput, saved[1]) : null,
    needsB ? multiply(gradOutput, saved[0], { transposeA: true }) : null,
  ]);
}

/**
 * Every row divided by its Euclidean length; a row of zeros stays.
 *
 * @param x [N, C].
 * @throws {TypeError} If `x` is no matrix.
 */
export function normaliseRows(x: Tensor): Tensor {
  const output = normaliseRowsForward(x.array);
  return record("normalise_rows", output, [x], [x.array], (gradOutput) => [
    normaliseRowsBackward(gradOutput, x.array),
  ]);
}
