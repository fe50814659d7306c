// 2-D convolution.

import { conv2dForward, conv2dInputGradient } from "../../kernels/dense/conv2d.ts";
import type { Conv2dGeometry } from "../../kernels/dense/conv2d_shape.ts";
import { conv2dParameterGradients } from "../../kernels/dense/conv2d_weight.ts";
import { Activation } from "../activation.ts";
import { currentPrecision } from "../precision.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * 2-D convolution, y[n,o,i,j] = bias[o] + Σ_{c,u,v} weight[o,c,u,v]
 * x[n, c, i stride − padding + u dilation, j stride − padding + v dilation].
 *
 * @param x [N, C, H, W].
 * @param weight [O, C, rows, columns].
 * @param bias [O], or null.
 * @param geometry In pixels, the same along both axes: `stride` (default 1), `padding` (0),
 *   `dilation` (1). `precision`: the numbers that are multiplied, here and in the gradients
 *   (`f32`, unless `computeIn` says otherwise).
 * @returns [N, O, H', W'].
 * @throws {TypeError} If the shapes do not fit each other.
 * @throws {RangeError} If the geometry is out of range or leaves no output.
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  {
    stride = 1,
    padding = 0,
    dilation = 1,
    precision = currentPrecision(),
  }: Partial<Conv2dGeometry> = {},
): Tensor {
  const geometry = { stride, padding, dilation, precision };
  const output = conv2dForward(x.array, weight.array, bias?.array ?? null, geometry);
  const kept = new Activation(x.array);
  const saved = [kept, weight.array] as const;
  return record("conv2d", output, [x, weight, bias], saved, (gradOutput, _, into) => {
    const [ofInput = false, ofWeight = false, ofBias = false] = into;
    using input = kept.open();
    const parameters = conv2dParameterGradients(gradOutput, input, saved[1].shape, geometry, {
      weight: ofWeight,
      bias: ofBias,
    });
    const gradInput = ofInput
      ? conv2dInputGradient(gradOutput, saved[1], input.shape, geometry, ofInput)
      : null;
    return [gradInput, parameters.weight, parameters.bias];
  });
}
