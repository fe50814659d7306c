// Gradients of a convolution to its parameters, by every tile and in both classes.

import { strict as assert } from "node:assert";
import { conv2dParameterGradients } from "../../../kernels/dense/conv2d_weight.ts";
import { SHARED_TILES } from "../../../kernels/dense/shared_tiles.ts";
import { type Gpu, GpuArray, type KernelClass } from "../../../kernels/runtime/mod.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../../_check.ts";
import { guardedGpu, KERNEL_CLASSES } from "../../_device.ts";
import { assertSame } from "../../_same.ts";
import * as reference from "../../_reference/conv2d.ts";

interface Case {
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: readonly [number, number];
  readonly geometry: {
    readonly stride: number;
    readonly padding: number;
    readonly dilation: number;
  };
}

/** Planes shorter than a step of the sum, rows of all lengths, and sums that are split. */
const CASES: readonly Case[] = [
  { x: [21, 5, 1, 1], outputs: 7, kernel: [1, 1], geometry: of(1) },
  { x: [9, 3, 2, 3], outputs: 5, kernel: [1, 1], geometry: of(1) },
  { x: [5, 2, 3, 1], outputs: 3, kernel: [3, 1], geometry: of(1, 1) },
  { x: [3, 6, 1, 11], outputs: 9, kernel: [1, 3], geometry: of(1, 1) },
  { x: [3, 3, 4, 8], outputs: 6, kernel: [3, 3], geometry: of(1, 1) },
  { x: [2, 3, 13, 11], outputs: 5, kernel: [7, 7], geometry: of(2, 3) },
  { x: [3, 5, 9, 7], outputs: 9, kernel: [3, 3], geometry: of(3, 2, 2) },
  { x: [2, 18, 7, 9], outputs: 131, kernel: [3, 3], geometry: of(1, 4, 4) },
  { x: [1, 131, 5, 5], outputs: 3, kernel: [1, 1], geometry: of(2) },
  { x: [3, 6, 19, 21], outputs: 10, kernel: [3, 2], geometry: of(1, 1) },
];

function of(stride: number, padding = 0, dilation = 1): Case["geometry"] {
  return { stride, padding, dilation };
}

function isForWinograd({ kernel, geometry: { stride, padding, dilation } }: Case): boolean {
  return kernel.join() === "3,3" && stride === 1 && padding === dilation;
}

/** Classes of kernels, and which way to take. */
const WAYS: readonly (readonly [KernelClass, string?])[] = [
  ["direct"],
  ...SHARED_TILES.map(({ name }) => ["shared", name] as const),
  ["direct", "winograd"],
  ["shared", "winograd"],
  ["shared", "winograd4"],
];

/** Runs `fn` while every choice falls on this way where there is such a one, which must be. */
async function choosing<T>(gpu: Gpu, name: string | undefined, fn: () => Promise<T>): Promise<T> {
  const { choices } = gpu;
  const { choose } = choices;
  let found = name === undefined;
  choices.choose = (problem) => {
    const chosen = problem.candidates.get(name ?? "");
    found ||= chosen !== undefined;
    return chosen ?? choose.call(choices, problem) as never;
  };
  try {
    const result = await fn();
    assert.ok(found, `nothing is done as ${name}`);
    return result;
  } finally {
    choices.choose = choose;
  }
}

function operands({ x: shape, outputs, kernel, geometry }: Case): { gradOutput: Nd; x: Nd } {
  const random = seededRandom(7);
  const x = randomNd(shape, random);
  const weight = randomNd([outputs, shape[1], ...kernel], random);
  return { x, gradOutput: randomNd(reference.conv2d(x, weight, null, geometry).shape, random) };
}

const upload = (gpu: Gpu, { data, shape }: Nd) =>
  gpu.upload(Float32Array.from(data), shape, "operand");

for (const [kernels, way] of WAYS) {
  for (const item of CASES) {
    if (way?.startsWith("winograd") && !isForWinograd(item)) continue;
    const { stride, padding, dilation } = item.geometry;
    const name = `parameter gradients of [${item.x}] by ${item.kernel.join("×")} to ` +
      `${item.outputs} channels, stride ${stride}, padding ${padding}, dilation ${dilation}`;
    Deno.test(`${name} match their reference, new and added (${kernels}${way ? `, ${way}` : ""})`, async () => {
      const gpu = await guardedGpu(kernels);
      const before = gpu.memory.live;
      const { gradOutput, x } = operands(item);
      const shape = [item.outputs, item.x[1], ...item.kernel] as [number, number, number, number];
      const expected = reference.conv2dParameterGradients(gradOutput, x, shape, item.geometry);
      await choosing(gpu, way, async () => {
        using gradArray = upload(gpu, gradOutput);
        using xArray = upload(gpu, x);
        const run = (needs: Parameters<typeof conv2dParameterGradients>[4]) =>
          conv2dParameterGradients(gradArray, xArray, shape, item.geometry, needs);
        const fresh = run({ weight: true, bias: true });
        const [ofWeight, ofBias] = [fresh.weight as GpuArray, fresh.bias as GpuArray];
        // Side by side, each behind zeros that must stay.
        const places = GpuArray.together([ofBias, ofWeight, ofBias, ofBias]);
        const [, weight, , bias] = places as [GpuArray, GpuArray, GpuArray, GpuArray];
        for (const [toWeight, toBias] of [[false, false], [true, true], [true, false]] as const) {
          const written = run({
            weight: { array: weight, accumulate: toWeight },
            bias: { array: bias, accumulate: toBias },
          });
          assert.equal(written.weight, weight);
          assert.equal(written.bias, bias);
          for (const array of [weight, bias]) array.release();
        }
        using all = GpuArray.spanning(places) as GpuArray;
        const found = await gpu.readAll([ofWeight, ofBias, all]) as Float32Array[];
        const tolerance = { atol: 2e-5, rtol: 2e-5 };
        assertAllClose("weight", found[0]!, expected.weight.data, tolerance);
        assertAllClose("bias", found[1]!, expected.bias.data, tolerance);
        const added = new Float32Array(all.size);
        added.set(found[0]!.map((value) => 2 * value + value), weight.byteOffset / 4);
        added.set(found[1]!, bias.byteOffset / 4);
        assertSame(found[2], added);
        for (const array of [ofWeight, ofBias, ...places]) array.release();
      });
      assert.equal(gpu.memory.live, before);
    });
  }
}

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`what is no number in a channel stays out of other channels' gradients (${kernels})`, async () => {
    const gpu = await guardedGpu(kernels);
    const item = CASES[4] as Case;
    const { gradOutput, x } = operands(item);
    const shape = [item.outputs, item.x[1], ...item.kernel] as [number, number, number, number];
    // The first channel of the second image lies behind the last of the first.
    const [plane, outPlane] = [4 * 8, 4 * 8];
    x.data.fill(NaN, item.x[1] * plane, (item.x[1] + 1) * plane);
    gradOutput.data.fill(Infinity, item.outputs * outPlane, (item.outputs + 1) * outPlane);
    using gradArray = upload(gpu, gradOutput);
    using xArray = upload(gpu, x);
    const needs = { weight: true, bias: true };
    const { weight, bias } = conv2dParameterGradients(
      gradArray,
      xArray,
      shape,
      item.geometry,
      needs,
    );
    const found = await weight!.read();
    const foundBias = await bias!.read();
    const expected = reference.conv2dParameterGradients(gradOutput, x, shape, item.geometry);
    const perOutput = found.length / item.outputs;
    const perChannel = perOutput / item.x[1];
    found.forEach((value, i) => {
      const isFinite = i >= perOutput && i % perOutput >= perChannel;
      assert.equal(Number.isFinite(value), isFinite, `weight[${i}] is ${value}`);
      if (isFinite) assert.ok(Math.abs(value - expected.weight.data[i]!) < 1e-4);
    });
    assert.deepEqual([...foundBias].map(Number.isFinite), [false, true, true, true, true, true]);
    weight!.release();
    bias!.release();
  });
}
