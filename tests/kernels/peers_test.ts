// Batch norms over the images of several devices, against one device that sees them all.

import assert from "node:assert/strict";
import {
  batchNormBackward,
  batchNormForward,
  batchNormResidualBackward,
} from "../../kernels/batch_norm.ts";
import { gatherRows, sumOverPeers } from "../../kernels/peers.ts";
import { pixelShare } from "../../kernels/pixel_share.ts";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { assertAllClose, seededRandom } from "../_check.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import { onPeers } from "../_peers.ts";

const [IMAGES, CHANNELS, HEIGHT, WIDTH] = [4, 5, 6, 7] as const;
/** So many that devices add up what they know of them. */
const MANY_IMAGES = 36;
const PLANE = HEIGHT * WIDTH;
const random = seededRandom(3);
const numbers = (length: number) => Float32Array.from({ length }, () => 2 * random() - 1);
const DATA = {
  x: numbers(MANY_IMAGES * CHANNELS * PLANE),
  residual: numbers(MANY_IMAGES * CHANNELS * PLANE),
  gradOutput: numbers(MANY_IMAGES * CHANNELS * PLANE),
  weight: numbers(CHANNELS),
  bias: numbers(CHANNELS),
};

/** A batch norm on the images of one of `ranks`, forward and backward. */
async function normalise(
  gpu: Gpu,
  rank: number,
  ranks: number,
  withResidual: boolean,
  { count = IMAGES, from = 0 }: { readonly count?: number; readonly from?: number } = {},
) {
  const images = count / ranks;
  const length = images * CHANNELS * PLANE;
  const rows = (data: Float32Array, label: string) =>
    gpu.upload(
      data.slice(rank * length, (rank + 1) * length),
      [images, CHANNELS, HEIGHT, WIDTH],
      label,
    );
  const x = rows(DATA.x, "x");
  const residual = withResidual ? rows(DATA.residual, "residual") : null;
  const gradOutput = rows(DATA.gradOutput, "gradient");
  const arrays = {
    weight: gpu.upload(DATA.weight, [CHANNELS], "weight"),
    bias: gpu.upload(DATA.bias, [CHANNELS], "bias"),
    runningMean: gpu.upload(new Float32Array(CHANNELS).fill(from), [CHANNELS], "mean"),
    runningVariance: gpu.zeros([CHANNELS], "variance"),
  };
  const options = { training: true, momentum: 0.1, eps: 1e-5, relu: true };
  const forward = batchNormForward(x, arrays, options, residual);
  const needs = { training: true, needsInput: true };
  const gradients = residual
    ? batchNormResidualBackward(gradOutput, x, forward, { ...needs, overwrite: false })
    : batchNormBackward(gradOutput, x, forward, needs);
  const { gradInput, gradWeight, gradBias } = gradients;
  const [output, mean, variance, toInput, toWeight, toBias] = await gpu.readAll([
    forward.output,
    arrays.runningMean,
    arrays.runningVariance,
    gradInput!,
    gradWeight,
    gradBias,
  ]);
  return { output, mean, variance, toInput, toWeight, toBias } as Record<string, Float32Array>;
}

for (const withResidual of [false, true]) {
  const what = withResidual ? " with a residual" : "";
  Deno.test(`a batch norm${what} over the images of two devices is one over all of them, to the bit`, async () => {
    const whole = await normalise(await testGpu("direct"), 0, 1, withResidual);
    const parts = await onPeers(
      2,
      (gpu, rank) => normalise(gpu, rank, 2, withResidual),
      "direct",
    );
    for (const { mean, variance } of parts) {
      assert.deepEqual([mean, variance], [whole.mean, whole.variance]);
    }
    for (const name of ["output", "toInput"]) {
      assert.deepEqual(parts.flatMap((part) => [...part[name]!]), [...whole[name]!], name);
    }
    for (const name of ["toWeight", "toBias"]) { // added up with all other gradients
      const sum = parts[0]![name]!.map((value, at) => value + parts[1]![name]![at]!);
      assertAllClose(name, sum, Float64Array.from(whole[name]!));
    }
  });
}

Deno.test("kernels for GPUs see the images of all devices, too", async () => {
  const whole = await normalise(await testGpu("shared"), 0, 1, true);
  const parts = await onPeers(2, (gpu, rank) => normalise(gpu, rank, 2, true), "shared");
  for (const name of ["output", "toInput"]) {
    const found = Float32Array.from(parts.flatMap((part) => [...part[name]!]));
    assertAllClose(name, found, Float64Array.from(whole[name]!));
  }
});

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`of many images devices tell each other sums, which come to the same (${kernels})`, async () => {
    for (const [from, withResidual] of [[0, true], [1.5, false]] as const) {
      const options = { count: MANY_IMAGES, from };
      const whole = await normalise(await testGpu(kernels), 0, 1, withResidual, options);
      const sent: number[] = [];
      const parts = await onPeers(
        3,
        async (gpu, rank) => {
          const { peers } = gpu;
          const { sum } = peers!;
          peers!.sum = (data) => {
            sent.push(data.length);
            return sum.call(peers, data);
          };
          return await normalise(gpu, rank, 3, withResidual, options);
        },
        kernels,
      );
      assert.deepEqual(sent, Array(6).fill(2 * CHANNELS), "sums of channels, forward and backward");
      for (const name of ["output", "toInput"]) {
        const found = Float32Array.from(parts.flatMap((part) => [...part[name]!]));
        assertAllClose(name, found, Float64Array.from(whole[name]!));
      }
      for (const name of ["mean", "variance"]) {
        for (const part of parts) {
          assertAllClose(name, part[name]!, Float64Array.from(whole[name]!));
        }
      }
      for (const name of ["toWeight", "toBias"]) { // added up with all other gradients
        const sum = parts[0]![name]!.map((value, at) =>
          value + parts[1]![name]![at]! + parts[2]![name]![at]!
        );
        assertAllClose(name, sum, Float64Array.from(whole[name]!));
      }
    }
  });
}

Deno.test("shares are of the pixels of all devices, in whatever part of a batch they lie", async () => {
  const plane = [3, 5]; // of no multiple of what a binding may begin at
  const masks = [[1, 0, 1, 1], [0, 0, 1, 0]]; // by device and image: whether all or none of it counts
  const found = await onPeers(2, async (gpu, rank) => {
    const data = Uint32Array.from(
      { length: 4 * 15 },
      (_, at) => masks[rank]![Math.floor(at / 15)]!,
    );
    using mask = gpu.upload(data, [4, ...plane], "mask");
    const shares = [0, 1, 2].map((part) => pixelShare(mask, part, 2, "not zero"));
    const values = await gpu.readAll(shares);
    for (const share of shares) share.release();
    return values.map(([value]) => value);
  });
  assert.deepEqual(found, [[0.25, 0.25, 0.5], [0, 0.25, 0.25]]);
});

Deno.test("rows are gathered in the order of ranks, sums are the same on all", async () => {
  const found = await onPeers(3, async (gpu, rank) => {
    using own = gpu.upload(Float32Array.of(rank, 10 * rank), [1, 2], "own");
    using all = gatherRows(own);
    assert.deepEqual(all.shape, [3, 2]);
    const gathered = await all.read();
    sumOverPeers([own]);
    return [...gathered, ...await own.read()];
  });
  assert.deepEqual(found, Array(3).fill([0, 0, 1, 10, 2, 20, 3, 30]));
});
