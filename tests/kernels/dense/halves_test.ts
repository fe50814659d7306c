// Products in f16: as exact as halves are, by every tile; and other kernels than those of f32.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../../../kernels/dense/conv2d.ts";
import { conv2dParameterGradients } from "../../../kernels/dense/conv2d_weight.ts";
import { conv2dSizes } from "../../../kernels/dense/conv2d_shape.ts";
import { matmul } from "../../../kernels/dense/matmul.ts";
import { winogradChoice } from "../../../kernels/dense/winograd.ts";
import {
  defineKernel,
  type Gpu,
  type GpuArray,
  GpuError,
  planningGpu,
  type Precision,
} from "../../../kernels/runtime/mod.ts";
import { type Nd, randomNd, seededRandom } from "../../_check.ts";
import { choosing, guardedGpu, testGpu } from "../../_device.ts";
import { testInHalves } from "../../_halves.ts";
import * as reference from "../../_reference/conv2d.ts";

/** Relative distance of a half from the number that it rounds. */
const ROUNDING = 2 ** -11;
/** Two operands and their product are rounded, and eight products are added up in halves. */
const ROUNDINGS = 2 + 1 + 7;

const absolute = ({ data, shape }: Nd): Nd => ({ data: data.map(Math.abs), shape });

const upload = (gpu: Gpu, { data, shape }: Nd) =>
  gpu.upload(Float32Array.from(data), shape, "operand");

/**
 * Checks sums of products, `expected`, of which `sizes` are the sums of absolute products; they may be
 * off by `factor` times what one sum in halves may be.
 */
async function assertHalves(
  found: GpuArray,
  expected: Nd,
  sizes: Nd,
  factor = 1,
): Promise<void> {
  const values = await found.read();
  let worst = 0;
  values.forEach((value, index) => {
    const size = sizes.data[index] as number;
    const share = size === 0 ? 0 : Math.abs(value - (expected.data[index] as number)) / size;
    const isRight = share < factor * ROUNDINGS * ROUNDING;
    assert.ok(isRight, `element ${index}: ${value}, ${expected.data[index]}`);
    worst = Math.max(worst, share);
  });
  assert.ok(worst > ROUNDING / 16, `32-bit floats were multiplied: off by ${worst} at most`);
}

/** An invocation of one owns eight rows, of the other four; drivers are slow to compile halves. */
for (const name of ["64×64", "32×64"]) {
  testInHalves(`matrix products in f16 by ${name}`, async () => {
    const gpu = await guardedGpu("shared");
    const random = seededRandom(3);
    const [a, b] = [randomNd([37, 530], random), randomNd([530, 45], random)];
    using left = upload(gpu, a);
    using right = upload(gpu, b);
    await choosing(gpu, name, async () => {
      using found = matmul(left, right, { precision: "f16" });
      const sizes = reference.matmul(absolute(a), absolute(b));
      await assertHalves(found, reference.matmul(a, b), sizes);
    });
  });

  testInHalves(`convolutions and their gradients in f16 by ${name}`, async () => {
    const gpu = await guardedGpu("shared");
    const random = seededRandom(5);
    for (
      const [kernel, geometry] of [
        [3, { stride: 2, padding: 2, dilation: 2 }],
        [1, { stride: 1, padding: 0, dilation: 1 }],
      ] as const
    ) {
      const x = randomNd([2, 9, 8, 11], random);
      const shape = [6, 9, kernel, kernel] as const;
      const weight = randomNd(shape, random);
      const y = reference.conv2d(x, weight, null, geometry);
      const grad = randomNd(y.shape, random);
      using xs = upload(gpu, x);
      using weights = upload(gpu, weight);
      using grads = upload(gpu, grad);
      const inHalves = { ...geometry, precision: "f16" } as const;
      await choosing(gpu, name, async () => {
        using found = conv2dForward(xs, weights, null, inHalves);
        const sizes = reference.conv2d(absolute(x), absolute(weight), null, geometry);
        await assertHalves(found, y, sizes);
        const gradients = (x: Nd, grad: Nd) =>
          reference.conv2dParameterGradients(grad, x, shape, geometry).weight;
        const needs = { weight: true, bias: false };
        const parameters = conv2dParameterGradients(grads, xs, weight.shape, inHalves, needs);
        using ofWeight = parameters.weight as GpuArray;
        await assertHalves(ofWeight, gradients(x, grad), gradients(absolute(x), absolute(grad)));
        // The input's gradient by what it is: ⟨grad, conv(x)⟩ = ⟨gradient, x⟩ for every x.
        using ofInput = conv2dInputGradient(grads, weights, x.shape, inHalves);
        using exact = conv2dInputGradient(grads, weights, x.shape, geometry);
        using largest = conv2dInputGradient(
          upload(gpu, absolute(grad)),
          upload(gpu, absolute(weight)),
          x.shape,
          geometry,
        );
        const nd = async (array: GpuArray): Promise<Nd> => ({
          data: Float64Array.from(await array.read()),
          shape: array.shape,
        });
        await assertHalves(ofInput, await nd(exact), await nd(largest));
      });
    }
  });
}

testInHalves("Winograd's algorithm multiplies halves, but not in its larger form", async () => {
  const gpu = await guardedGpu("shared");
  const random = seededRandom(7);
  const geometry = { stride: 1, padding: 1, dilation: 1 };
  const shape = [6, 9, 3, 3] as const;
  const [x, weight] = [randomNd([2, 9, 8, 11], random), randomNd(shape, random)];
  const y = reference.conv2d(x, weight, null, geometry);
  const grad = randomNd(y.shape, random);
  using xs = upload(gpu, x);
  using weights = upload(gpu, weight);
  using grads = upload(gpu, grad);
  const inHalves = { ...geometry, precision: "f16" } as const;
  await choosing(gpu, "winograd", async () => {
    using found = conv2dForward(xs, weights, null, inHalves);
    // Sums and differences of four operands are rounded, and added up again.
    const sizes = (x: Nd, weight: Nd) =>
      reference.conv2d(absolute(x), absolute(weight), null, geometry);
    await assertHalves(found, y, sizes(x, weight), 4);
    const gradients = (x: Nd, grad: Nd) =>
      reference.conv2dParameterGradients(grad, x, shape, geometry).weight;
    const needs = { weight: true, bias: false };
    const parameters = conv2dParameterGradients(grads, xs, weight.shape, inHalves, needs);
    using ofWeight = parameters.weight as GpuArray;
    await assertHalves(ofWeight, gradients(x, grad), gradients(absolute(x), absolute(grad)), 4);
  });
  const sizes = conv2dSizes(x.shape, shape, geometry);
  const forms = (precision: Precision) => [
    ...winogradChoice(gpu, { ...sizes, precision }, "image").candidates.keys(),
  ];
  assert.deepEqual(forms("f32"), ["direct", "winograd", "winograd4"]);
  assert.deepEqual(forms("f16"), ["direct", "winograd"]);
});

Deno.test("a kernel has halves where its file has an alias for them", () => {
  const definition = {
    name: "toy",
    file: "toy.wgsl",
    source: "@compute @workgroup_size(1) fn run() {}",
    entry: "run",
    reads: [],
    writes: [],
    element: "f16",
  } as const;
  assert.throws(() => defineKernel(definition), /toy\.wgsl with f16 as it has no line "alias/);
});

Deno.test("the direct class has no halves, and the shared class those of the adapter", async () => {
  assert.equal((await testGpu("direct")).hasHalves, false);
  const gpu = await testGpu("shared");
  assert.equal(gpu.hasHalves, gpu.adapter.features.includes("shader-f16"));
});

Deno.test("products in f16 are refused where there are no halves", () => {
  const adapter = { description: "a plain one", vendor: "", isFallback: false, features: [] };
  using gpu = planningGpu({ adapter });
  using a = gpu.empty([4, 4], "a");
  assert.throws(
    () => matmul(a, a, { precision: "f16" }),
    (error: Error) =>
      error instanceof GpuError && /in f16 on "a plain one" as it/.test(error.message),
  );
});
