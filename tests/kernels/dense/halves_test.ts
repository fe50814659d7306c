// Products in f16: as exact as halves are, by every tile; and other kernels than those of f32.

import { strict as assert } from "node:assert";
import { conv2dForward, conv2dInputGradient } from "../../../kernels/dense/conv2d.ts";
import { conv2dParameterGradients } from "../../../kernels/dense/conv2d_weight.ts";
import { matmul } from "../../../kernels/dense/matmul.ts";
import { defineKernel, type Gpu, type GpuArray } from "../../../kernels/runtime/mod.ts";
import { type Nd, randomNd, seededRandom } from "../../_check.ts";
import { choosing, guardedGpu, testGpu } from "../../_device.ts";
import * as reference from "../../_reference/conv2d.ts";

/** Relative distance of a half from the number that it rounds. */
const ROUNDING = 2 ** -11;
/** Two operands and their product are rounded, and eight products are added up in halves. */
const ROUNDINGS = 2 + 1 + 7;

const absolute = ({ data, shape }: Nd): Nd => ({ data: data.map(Math.abs), shape });

const upload = (gpu: Gpu, { data, shape }: Nd) =>
  gpu.upload(Float32Array.from(data), shape, "operand");

/** Checks sums of products, `expected`, of which `sizes` are the sums of absolute products. */
async function assertHalves(found: GpuArray, expected: Nd, sizes: Nd): Promise<void> {
  const values = await found.read();
  let worst = 0;
  values.forEach((value, index) => {
    const size = sizes.data[index] as number;
    const share = size === 0 ? 0 : Math.abs(value - (expected.data[index] as number)) / size;
    assert.ok(share < ROUNDINGS * ROUNDING, `element ${index}: ${value}, ${expected.data[index]}`);
    worst = Math.max(worst, share);
  });
  assert.ok(worst > ROUNDING / 16, `32-bit floats were multiplied: off by ${worst} at most`);
}

/** An invocation of one owns eight rows, of the other four; drivers are slow to compile halves. */
for (const name of ["64×64", "32×64"]) {
  Deno.test(`matrix products in f16 by ${name}`, async () => {
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

  Deno.test(`convolutions and their gradients in f16 by ${name}`, async () => {
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

Deno.test("the direct class has no halves", async () => {
  assert.equal((await testGpu("direct")).hasHalves, false);
  assert.equal((await testGpu("shared")).hasHalves, true);
});
