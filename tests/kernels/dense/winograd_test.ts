import { strict as assert } from "node:assert";
import { conv2dSizes } from "../../../kernels/dense/conv2d_shape.ts";
import type { Gpu, GpuArray, KernelClass } from "../../../kernels/runtime/mod.ts";
import {
  WINOGRAD2,
  winogradChoice,
  winogradCorrelate,
  winogradWeightGradient,
} from "../../../kernels/dense/winograd.ts";
import { WINOGRAD4 } from "../../../kernels/dense/winograd4.ts";
import type { WinogradForm } from "../../../kernels/dense/winograd_form.ts";
import { winogradWeight } from "../../../kernels/dense/winograd_weight.ts";
import { conv2d } from "../../../nn/functional/conv2d.ts";
import { assertAllClose, checkOp, type Nd, randomNd, seededRandom } from "../../_check.ts";
import { guardedGpu, KERNEL_CLASSES, narrowGpu } from "../../_device.ts";
import * as reference from "../../_reference/conv2d.ts";

function upload(gpu: Gpu, { data, shape }: Nd): GpuArray {
  return gpu.upload(Float32Array.from(data), shape, "operand");
}

/** [A, B, H, W] as [B, A, H, W]. */
function exchanged({ data, shape }: Nd): Nd {
  const [a, b, height, width] = shape as [number, number, number, number];
  const plane = height * width;
  return {
    data: Float64Array.from(data, (_, i) => {
      const [row, column] = [Math.floor(i / plane / a), Math.floor(i / plane) % a];
      return data[(column * b + row) * plane + i % plane]!;
    }),
    shape: [b, a, height, width],
  };
}

const CASES = [
  { x: [1, 1, 1, 1], outputs: 1, dilation: 1 },
  { x: [2, 3, 5, 7], outputs: 5, dilation: 1 },
  { x: [3, 17, 4, 6], outputs: 3, dilation: 1 },
  { x: [2, 5, 9, 11], outputs: 18, dilation: 2 },
  { x: [1, 2, 7, 13], outputs: 33, dilation: 3 },
  { x: [2, 3, 5, 8], outputs: 2, dilation: 6 },
] as const;

type Case = (typeof CASES)[number];

/** The forms of the algorithm and the classes of kernels that take them. */
const FORMS: readonly (readonly [WinogradForm, KernelClass])[] = [
  ...KERNEL_CLASSES.map((kernels) => [WINOGRAD2, kernels] as const),
  [WINOGRAD4, "shared"],
];

/** The case's convolution on `gpu`, written and then added to itself, against its f64 twin. */
async function checkForward(
  form: WinogradForm,
  gpu: Gpu,
  { x: shape, outputs, dilation }: Case,
): Promise<void> {
  const before = gpu.memory.live;
  const [images, channels, height, width] = shape;
  const geometry = { dilation, padding: dilation };
  const random = seededRandom(7);
  const [x, weight, bias] = [shape, [outputs, channels, 3, 3], [outputs]]
    .map((shape) => randomNd(shape, random));
  const [input, taps, shift] = [upload(gpu, x!), upload(gpu, weight!), upload(gpu, bias!)];
  const y = gpu.empty([images, outputs, height, width], "y");
  const u = winogradWeight(form, taps, false);
  const arrays = { x: input, weight: u, bias: shift, y };
  winogradCorrelate(form, arrays, geometry);
  const expected = reference.conv2d(x!, weight!, bias!, geometry).data;
  assertAllClose("y", await y.read(), expected);
  winogradCorrelate(form, { ...arrays, accumulate: true }, geometry);
  assertAllClose("y, twice", await y.read(), expected.map((value) => 2 * value), { atol: 2e-5 });
  for (const array of [input, taps, shift, y, u]) array.release();
  assert.equal(gpu.memory.live, before);
}

/** The gradient of the case's weight on `gpu`, written and then added to itself. */
async function checkWeightGradient(
  form: WinogradForm,
  gpu: Gpu,
  { x: shape, outputs, dilation }: Case,
): Promise<void> {
  const before = gpu.memory.live;
  const [images, channels, height, width] = shape;
  const geometry = { dilation, padding: dilation };
  const random = seededRandom(8);
  const [x, cotangent] = [shape, [images, outputs, height, width]]
    .map((shape) => randomNd(shape, random));
  // The gradient is itself a convolution, of channels as images by gradients as kernels.
  const expected = exchanged(reference.conv2d(exchanged(x!), exchanged(cotangent!), null, {
    stride: dilation,
    padding: dilation,
  })).data;
  const [input, gradOutput] = [upload(gpu, x!), upload(gpu, cotangent!)];
  const gradWeight = gpu.empty([outputs, channels, 3, 3], "gradient");
  const arrays = { x: input, gradOutput, gradWeight };
  winogradWeightGradient(form, arrays, { ...geometry, accumulate: false });
  assertAllClose("gradient", await gradWeight.read(), expected, { atol: 2e-5 });
  winogradWeightGradient(form, arrays, { ...geometry, accumulate: true });
  const twice = expected.map((value) => 2 * value);
  assertAllClose("gradient, twice", await gradWeight.read(), twice, { atol: 4e-5 });
  for (const array of [input, gradOutput, gradWeight]) array.release();
  assert.equal(gpu.memory.live, before);
}

for (const item of CASES) {
  const name = `of [${item.x}] to ${item.outputs} channels at dilation ${item.dilation}`;
  for (const [form, kernels] of FORMS) {
    const how = `in tiles of ${form.side} × ${form.side} (${kernels})`;
    Deno.test(`Winograd's convolution ${name} matches its reference ${how}`, async () =>
      checkForward(form, await guardedGpu(kernels), item));
    Deno.test(`Winograd's weight gradient ${name} matches its reference ${how}`, async () =>
      checkWeightGradient(form, await guardedGpu(kernels), item));
  }
}

Deno.test("Winograd takes fewer images at once where their transforms exceed a binding", async () => {
  await checkForward(WINOGRAD2, await narrowGpu(2 ** 15), CASES[2]);
  await checkWeightGradient(WINOGRAD2, await narrowGpu(45056), CASES[2]);
  await checkForward(WINOGRAD4, await narrowGpu(2 ** 16, "shared"), CASES[2]);
  await checkWeightGradient(WINOGRAD4, await narrowGpu(90112, "shared"), CASES[2]);
});

Deno.test("conv2d uses Winograd where it pays, with all gradients", async () => {
  const [x, weight] = [[2, 48, 4, 4], [48, 48, 3, 3]];
  const geometry = { padding: 1 };
  const gpu = await guardedGpu("direct");
  const sizes = conv2dSizes(x, weight, { stride: 1, padding: 1, dilation: 1 });
  assert.equal(winogradChoice(gpu, sizes, "image").expected, "winograd");
  await checkOp(
    (x, weight, bias) => conv2d(x!, weight!, bias!, geometry),
    (x, weight, bias) => reference.conv2d(x!, weight!, bias!, geometry),
    {
      shapes: [x, weight, [48]],
      narrow: 2 ** 18,
      atol: 2e-5,
      gradAtol: 3e-4,
      kernels: "direct",
    },
  );
});

Deno.test("conv2d uses Winograd in tiles of 4 × 4 where they pay, with all gradients", async () => {
  const [x, weight] = [[1, 68, 4, 8], [66, 68, 3, 3]];
  const geometry = { padding: 1 };
  const gpu = await guardedGpu("shared");
  const sizes = conv2dSizes(x, weight, { stride: 1, padding: 1, dilation: 1 });
  for (const what of ["image", "weight"] as const) {
    assert.equal(winogradChoice(gpu, sizes, what).expected, "winograd4");
  }
  await checkOp(
    (x, weight, bias) => conv2d(x!, weight!, bias!, geometry),
    (x, weight, bias) => reference.conv2d(x!, weight!, bias!, geometry),
    {
      shapes: [x, weight, [66]],
      narrow: 2 ** 20,
      atol: 5e-5,
      gradAtol: 3e-4,
      kernels: "shared",
    },
  );
});

Deno.test("Winograd stays out of what it cannot do and of what it does slowly", async () => {
  const gpu = await guardedGpu("direct");
  const pays = (x: number[], kernel: number, stride: number, padding: number, dilation: number) => {
    const sizes = conv2dSizes(x, [64, x[1]!, kernel, kernel], { stride, padding, dilation });
    return winogradChoice(gpu, sizes, "image").expected === "winograd";
  };
  assert.ok(pays([4, 64, 32, 64], 3, 1, 1, 1));
  assert.ok(pays([4, 64, 32, 64], 3, 1, 2, 2));
  assert.ok(!pays([4, 64, 32, 64], 3, 2, 1, 1), "stride 2");
  assert.ok(!pays([4, 64, 32, 64], 3, 1, 0, 1), "no padding");
  assert.ok(!pays([4, 64, 32, 64], 1, 1, 0, 1), "a kernel of one pixel");
  assert.ok(!pays([4, 3, 32, 64], 3, 1, 1, 1), "few channels");
  assert.ok(!pays([4, 512, 12, 24], 3, 1, 8, 8), "taps that mostly lie outside");
  assert.ok(!pays([1, 2048, 2048, 2048], 3, 1, 1, 1), "transforms beyond one binding");
});
