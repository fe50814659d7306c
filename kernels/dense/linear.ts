// Affine maps of vectors: convolutions of images of one pixel, 1 × 1.

import { conv2dForward, conv2dInputGradient } from "./conv2d.ts";
import {
  type Conv2dParameterGradients,
  conv2dParameterGradients,
  type Conv2dParameterNeeds,
} from "./conv2d_weight.ts";
import { formatShape, type GpuArray, type Shape } from "../runtime/mod.ts";

const GEOMETRY = { stride: 1, padding: 0, dilation: 1 };

/**
 * y = x weightᵀ + bias.
 *
 * @param x [N, I].
 * @param weight [O, I].
 * @param bias [O], or null.
 * @returns [N, O].
 * @throws {TypeError} If the shapes do not fit each other.
 */
export function linearForward(x: GpuArray, weight: GpuArray, bias: GpuArray | null): GpuArray {
  const [rows, inputs] = matrixShape(x.shape);
  const [outputs, expected] = matrixShape(weight.shape);
  if (inputs !== expected) {
    throw new TypeError(
      `Cannot run linear as input columns must equal weight columns: input has ${inputs}, weight expects ${expected}`,
    );
  }
  using image = onePixel(x);
  using kernel = onePixel(weight);
  using y = conv2dForward(image, kernel, bias, GEOMETRY);
  return y.view([rows, outputs]);
}

/** Gradient of {@link linearForward} to its input: gradOutput weight. */
export function linearInputGradient(gradOutput: GpuArray, weight: GpuArray): GpuArray {
  const [rows] = matrixShape(gradOutput.shape);
  const [, inputs] = matrixShape(weight.shape);
  using image = onePixel(gradOutput);
  using kernel = onePixel(weight);
  using gradInput = conv2dInputGradient(image, kernel, [rows, inputs, 1, 1], GEOMETRY);
  return gradInput.view([rows, inputs]);
}

/** Gradients of {@link linearForward} to its weight, gradOutputᵀ x, and its bias. */
export function linearParameterGradients(
  gradOutput: GpuArray,
  x: GpuArray,
  needs: Conv2dParameterNeeds,
): Conv2dParameterGradients {
  const [, outputs] = matrixShape(gradOutput.shape);
  const [, inputs] = matrixShape(x.shape);
  using image = onePixel(gradOutput);
  using input = onePixel(x);
  const shape = [outputs, inputs, 1, 1];
  const into = typeof needs.weight === "object" ? needs.weight : null;
  using place = into && into.array.view(shape);
  const { weight, bias } = conv2dParameterGradients(image, input, shape, GEOMETRY, {
    weight: into && place ? { ...into, array: place } : needs.weight,
    bias: needs.bias,
  });
  const matrix = into ? into.array.retain() : weight?.view([outputs, inputs]) ?? null;
  weight?.release();
  return { weight: matrix, bias };
}

function onePixel(matrix: GpuArray): GpuArray {
  return matrix.view([...matrixShape(matrix.shape), 1, 1]);
}

function matrixShape(shape: Shape): [number, number] {
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new TypeError(`Cannot run linear as it takes matrices: it got ${formatShape(shape)}`);
  }
  return [rows, columns];
}
