// Operations to time, each with a check of what it computes against the host's doubles.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../kernels/dense/conv2d.ts";
import { conv2dFlops, conv2dSizes } from "../kernels/dense/conv2d_shape.ts";
import { conv2dParameterGradients } from "../kernels/dense/conv2d_weight.ts";
import { matmul } from "../kernels/dense/matmul.ts";
import type { Gpu, GpuArray, Precision } from "../kernels/runtime/mod.ts";
import { randomNd, seededRandom } from "../tests/_check.ts";
import type { ConvolutionShape } from "./_shapes.ts";
import type { Operation } from "./_throughput.ts";

/** How far an element may be off that is a sum of so many products of numbers up to 1. */
function toleranceOf(precision: Precision, terms: number): number {
  return precision === "f16" ? 0.01 * Math.sqrt(terms) : 1e-3;
}

/** A product of two square matrices. */
export function squareProduct(gpu: Gpu, size: number, precision: Precision = "f32"): Operation {
  const random = seededRandom(size);
  const [a, b] = [randomNd([size, size], random), randomNd([size, size], random)];
  const [left, right] = [a, b].map(({ data, shape }) =>
    gpu.upload(Float32Array.from(data), shape, "operand")
  );
  if (!left || !right) throw new Error("Cannot multiply fewer than two matrices");
  return {
    name: `matmul ${size}${suffixOf(precision)}`,
    flops: 2 * size ** 3,
    run: () => matmul(left, right, { precision }),
    check: (found) => {
      for (let sample = 0; sample < 200; sample++) {
        const [row, column] = [Math.floor(random() * size), Math.floor(random() * size)];
        let sum = 0;
        for (let k = 0; k < size; k++) sum += a.data[row * size + k]! * b.data[k * size + column]!;
        const difference = Math.abs(found[row * size + column]! - sum);
        const isRight = difference < toleranceOf(precision, size);
        assert.ok(isRight, `matmul ${size}: element [${row}, ${column}] is wrong`);
      }
    },
  };
}

function suffixOf(precision: Precision): string {
  return precision === "f16" ? " in f16" : "";
}

/** A convolution and both gradients; the forward must be checked before its gradients. */
export function convolutions(
  gpu: Gpu,
  shape: ConvolutionShape,
  precision: Precision = "f32",
): Operation[] {
  const { x, outputs, kernel } = shape;
  const name = shape.name + suffixOf(precision);
  const geometry = { ...shape.geometry, precision };
  const random = seededRandom(1);
  const weightShape = [outputs, x[1], kernel, kernel];
  const sizes = conv2dSizes(x, weightShape, geometry);
  const outputShape = [x[0], outputs, sizes.outHeight, sizes.outWidth];
  const upload = (shape: readonly number[], label: string): [Float64Array, GpuArray] => {
    const { data } = randomNd(shape, random);
    return [data, gpu.upload(Float32Array.from(data), shape, label)];
  };
  const [input, inputArray] = upload(x, "input");
  const [weight, weightArray] = upload(weightShape, "weight");
  const [cotangent, gradOutput] = upload(outputShape, "gradient of the output");
  const flops = conv2dFlops(sizes);
  // Nothing is kept from run to run: packing is part of each.
  const forget = () =>
    [inputArray, weightArray, gradOutput].forEach(({ storage }) => gpu.pool.dropDerived(storage));
  let product = NaN; // ⟨output, cotangent⟩, which both gradients must reproduce

  const outputAt = (at: number): number => {
    const { outHeight, outWidth, inHeight, inWidth, inChannels } = sizes;
    const { stride, padding, dilation } = geometry;
    const column = at % outWidth, row = Math.floor(at / outWidth) % outHeight;
    const plane = Math.floor(at / (outWidth * outHeight));
    const output = plane % outputs, image = Math.floor(plane / outputs);
    let sum = 0;
    for (let u = 0; u < kernel; u++) {
      for (let v = 0; v < kernel; v++) {
        const [y, z] = [
          row * stride - padding + u * dilation,
          column * stride - padding + v * dilation,
        ];
        if (y < 0 || y >= inHeight || z < 0 || z >= inWidth) continue;
        for (let channel = 0; channel < inChannels; channel++) {
          sum += weight[((output * inChannels + channel) * kernel + u) * kernel + v]! *
            input[((image * inChannels + channel) * inHeight + y) * inWidth + z]!;
        }
      }
    }
    return sum;
  };
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
    return sum;
  };
  const adjoint = (what: string, operand: Float64Array) => (found: Float32Array) => {
    const share = Math.abs(dot(found, operand) - product) / Math.sqrt(flops);
    assert.ok(
      share < (precision === "f16" ? 5e-3 : 1e-4),
      `${name}: ⟨${what}⟩ is not ⟨output, cotangent⟩`,
    );
  };
  return [
    {
      name: `${name} forward`,
      flops,
      run: () => {
        forget();
        return conv2dForward(inputArray, weightArray, null, geometry);
      },
      check: (found) => {
        for (let sample = 0; sample < 200; sample++) {
          const at = Math.floor(random() * found.length);
          const difference = Math.abs(found[at]! - outputAt(at));
          const isRight = difference < toleranceOf(precision, x[1] * kernel ** 2);
          assert.ok(isRight, `${name}: output ${at} is wrong`);
        }
        product = dot(found, cotangent);
      },
    },
    {
      name: `${name} input gradient`,
      flops,
      run: () => {
        forget();
        return conv2dInputGradient(gradOutput, weightArray, x, geometry);
      },
      check: adjoint("input, its gradient", input),
    },
    {
      name: `${name} weight gradient`,
      flops,
      run: () => {
        forget();
        const needs = { weight: true, bias: false };
        const { weight } = conv2dParameterGradients(
          gradOutput,
          inputArray,
          weightShape,
          geometry,
          needs,
        );
        if (!weight) throw new Error("Cannot time a gradient that was not computed");
        return weight;
      },
      check: adjoint("weight, its gradient", weight),
    },
  ];
}
