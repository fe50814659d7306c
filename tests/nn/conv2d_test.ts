import { strict as assert } from "node:assert";
import { conv2d } from "../../nn/functional/conv2d.ts";
import { tensor } from "../../nn/tensor.ts";
import { checkOp } from "../_check.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import * as reference from "../_reference/conv2d.ts";

interface Case {
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: number | readonly [number, number];
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
  readonly bias?: boolean;
  readonly narrow?: number;
}

const CASES: readonly Case[] = [
  { x: [2, 3, 5, 7], outputs: 5, kernel: 1, bias: true },
  { x: [3, 5, 4, 6], outputs: 17, kernel: 1, bias: true },
  { x: [1, 17, 3, 3], outputs: 33, kernel: 1 },
  { x: [2, 33, 2, 4], outputs: 3, kernel: 1 },
  { x: [2, 8, 3, 5], outputs: 6, kernel: 1 },
  { x: [2, 8, 2, 6], outputs: 6, kernel: 1, bias: true },
  { x: [3, 4, 7, 5], outputs: 3, kernel: 1, stride: 2 },
  { x: [2, 2, 7, 8], outputs: 1, kernel: 1, stride: 3, padding: 1, bias: true },
  { x: [1, 1, 6, 5], outputs: 1, kernel: 2 },
  { x: [2, 3, 6, 7], outputs: 5, kernel: 3, padding: 1 },
  { x: [3, 5, 5, 9], outputs: 3, kernel: 3, padding: 1, bias: true },
  { x: [1, 17, 4, 5], outputs: 17, kernel: 3, padding: 1 },
  { x: [1, 33, 3, 4], outputs: 5, kernel: 3, padding: 1 },
  { x: [2, 3, 5, 6], outputs: 12, kernel: 3, padding: 1, bias: true },
  { x: [1, 2, 11, 13], outputs: 33, kernel: 3, padding: 1, bias: true },
  { x: [2, 3, 9, 7], outputs: 3, kernel: 3, stride: 2, padding: 1, bias: true },
  { x: [2, 1, 8, 10], outputs: 2, kernel: 3, stride: 3 },
  { x: [1, 3, 7, 6], outputs: 2, kernel: 3, padding: 2, dilation: 2 },
  { x: [2, 3, 9, 11], outputs: 3, kernel: 3, stride: 2, padding: 2, dilation: 2 },
  { x: [1, 2, 9, 11], outputs: 3, kernel: 3, stride: 2, padding: 3, dilation: 3 },
  { x: [2, 5, 5, 7], outputs: 3, kernel: 3, padding: 6, dilation: 6 },
  { x: [1, 3, 5, 8], outputs: 5, kernel: 3, padding: 24, dilation: 24, bias: true },
  { x: [2, 2, 6, 5], outputs: 3, kernel: 5, stride: 1, padding: 2 },
  { x: [2, 3, 13, 11], outputs: 5, kernel: 7, stride: 2, padding: 3 },
  { x: [1, 1, 9, 9], outputs: 1, kernel: 7, stride: 3, padding: 3, bias: true },
  { x: [2, 3, 6, 9], outputs: 2, kernel: [1, 5], padding: 2 },
  { x: [2, 3, 7, 6], outputs: 2, kernel: [3, 2], stride: 2, padding: 1 },
];

for (const { x, outputs, kernel, bias = false, narrow = 0, ...geometry } of CASES) {
  const [rows, columns] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const { stride = 1, padding = 0, dilation = 1 } = geometry;
  const name = `conv2d ${rows}x${columns} of [${x}] to ${outputs} channels, stride ${stride}, ` +
    `padding ${padding}, dilation ${dilation}${bias ? ", bias" : ""} matches its reference`;
  const weight = [outputs, x[1], rows, columns];
  for (const kernels of KERNEL_CLASSES) {
    Deno.test(`${name} (${kernels})`, () =>
      checkOp(
        (x, weight, bias) => conv2d(x!, weight!, bias ?? null, geometry),
        (x, weight, bias) => reference.conv2d(x!, weight!, bias ?? null, geometry),
        { shapes: bias ? [x, weight, [outputs]] : [x, weight], narrow, gradAtol: 2e-4, kernels },
      ));
  }
}

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`conv2d splits images that one binding cannot hold, in the same order (${kernels})`, () =>
    checkOp(
      (x, weight, bias) => conv2d(x!, weight!, bias!, { padding: 1 }),
      (x, weight, bias) => reference.conv2d(x!, weight!, bias!, { padding: 1 }),
      { shapes: [[5, 4, 8, 8], [4, 4, 3, 3], [4]], narrow: 2048, kernels },
    ));

  Deno.test(`conv2d splits images whose channels, padded for the weight gradient, exceed a binding (${kernels})`, () =>
    checkOp(
      (x, weight) => conv2d(x!, weight!, null),
      (x, weight) => reference.conv2d(x!, weight!, null),
      { shapes: [[5, 1, 8, 16], [2, 1, 3, 3]], narrow: 2560, kernels },
    ));
}

Deno.test("conv2d says which sizes do not fit", async () => {
  const gpu = await testGpu();
  const x = tensor(gpu, new Float32Array(3 * 4 * 4), [1, 3, 4, 4]);
  const weight = tensor(gpu, new Float32Array(2 * 5 * 9), [2, 5, 3, 3]);
  const own = tensor(gpu, new Float32Array(2 * 3 * 9), [2, 3, 3, 3]);
  assert.throws(() => conv2d(x, weight, null), {
    name: "TypeError",
    message:
      "Cannot run conv2d as input channels must equal weight channels: input has 3, weight expects 5",
  });
  assert.throws(() => conv2d(x, own, weight), /bias must be \[2\]/);
  assert.throws(() => conv2d(x, own, null, { dilation: 2 }), {
    name: "RangeError",
    message:
      "Cannot run conv2d as the kernel is larger than the padded input: input is [4, 4] with padding 0, the kernel [3, 3] with dilation 2",
  });
  assert.throws(() => conv2d(x, own, null, { stride: 0 }), /stride must be a whole number/);
  for (const tensor of [x, weight, own]) tensor.dispose();
});
