// Throughput of convolutions and their gradients, each checked first: `deno task bench` or
// `deno bench bench/conv2d_bench.ts`. S1 to S4 are the shapes that the results speak of.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../kernels/dense/conv2d.ts";
import { conv2dFlops, conv2dSizes } from "../kernels/dense/conv2d_shape.ts";
import { conv2dParameterGradients } from "../kernels/dense/conv2d_weight.ts";
import { type Gpu, type GpuArray, openGpu } from "../kernels/runtime/mod.ts";
import { randomNd, seededRandom } from "../tests/_check.ts";
import { type ConvolutionShape, SHAPES } from "./_shapes.ts";
import { measureRoof } from "./_roof.ts";
import { type Operation, printThroughput } from "./_throughput.ts";

function operations(
  gpu: Gpu,
  { name, x, outputs, kernel, geometry }: ConvolutionShape,
): Operation[] {
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
    assert.ok(share < 1e-4, `${name}: ⟨${what}⟩ is not ⟨output, cotangent⟩`);
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
          assert.ok(Math.abs(found[at]! - outputAt(at)) < 1e-3, `${name}: output ${at} is wrong`);
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

const gpu = await openGpu({ profile: true });
const roof = await measureRoof(gpu);
for (const shape of SHAPES) await printThroughput(gpu, shape.name, operations(gpu, shape), roof);
gpu.close();
