import { strict as assert } from "node:assert";
import { batchNormBackward, batchNormCoefficients } from "../../kernels/batch_norm.ts";
import { globalAveragePoolForward } from "../../kernels/global_average_pool.ts";
import { groupNormBackward, groupNormForward } from "../../kernels/group_norm.ts";
import { multiplyPlanes, normalisePlanes } from "../../kernels/plane_maps.ts";
import { planeDots, planeMoments, planeSums } from "../../kernels/plane_sums.ts";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { assertAllClose, randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, KERNEL_CLASSES, narrowGpu, testGpu } from "../_device.ts";

/** Forward and gradients of both normalisations and of the channel product. */
async function everything(gpu: Gpu): Promise<unknown[]> {
  const random = seededRandom(8);
  const made: GpuArray[] = [];
  const keep = (...arrays: (GpuArray | null)[]) => {
    for (const array of arrays) if (array) made.push(array);
  };
  const upload = (shape: number[]) => {
    const array = gpu.upload(Float32Array.from(randomNd(shape, random).data), shape, "input");
    keep(array);
    return array;
  };
  const [x, grad] = [upload([1, 7, 9, 11]), upload([1, 7, 9, 11])];
  const factor = upload([1, 7]);
  const [weight, bias, runningMean, runningVariance] = [0, 1, 2, 3].map(() => upload([7]));

  const arrays = { weight, bias, runningMean, runningVariance };
  const batchOptions = { training: true, momentum: 0.1, eps: 1e-5 };
  const batch = { coefficients: batchNormCoefficients(x, arrays, batchOptions), relu: true };
  keep(normalisePlanes(x, batch), batch.coefficients);
  keep(...Object.values(batchNormBackward(grad, x, batch, { training: true, needsInput: true })));

  const group = groupNormForward(x, weight, bias, { groups: 7, eps: 1e-5, relu: true });
  keep(group.output, group.coefficients);
  keep(
    ...Object.values(groupNormBackward(grad, x, weight, group, { groups: 7, needsInput: true })),
  );
  keep(multiplyPlanes(x, factor), planeDots(grad, x));

  const results = await gpu.readAll(made);
  for (const array of made) array.release();
  return results;
}

Deno.test("an image larger than one binding gives the same bits on a software adapter, plane by plane", async () => {
  // An image takes 2772 bytes.
  const [whole, split] = [await testGpu("direct"), await narrowGpu(1024, "direct")];
  assert.deepEqual(await everything(split), await everything(whole));
});

Deno.test("an image larger than one binding gives the same numbers on a GPU, plane by plane", async () => {
  const [whole, split] = [await testGpu("shared"), await narrowGpu(1024, "shared")];
  const [wanted, found] = [await everything(whole), await everything(split)];
  wanted.forEach((values, i) =>
    assertAllClose(`result ${i}`, found[i] as Float32Array, values as Float32Array)
  );
});

for (const kernels of KERNEL_CLASSES) {
  for (const shape of [[2, 3, 1, 1], [3, 2, 5, 7], [1, 3, 32, 32], [2, 2, 33, 97]]) {
    Deno.test(`sums over the planes of ${shape} match their formulas, ${kernels}`, async () => {
      const gpu = await guardedGpu(kernels);
      const random = seededRandom(2);
      const draw = (shape: readonly number[]) => Float32Array.from(randomNd(shape, random).data);
      const [images = 1, channels = 1] = shape;
      const [values, gradients] = [draw(shape), draw(shape)];
      const coefficientValues = draw([channels, 4]);
      using x = gpu.upload(values, shape, "x");
      using gradOutput = gpu.upload(gradients, shape, "gradient");
      using coefficients = gpu.upload(coefficientValues, [channels, 4], "coefficients");
      using moments = planeMoments(x);
      using sums = planeSums(gradOutput, x, { coefficients, relu: true });
      using dots = planeDots(gradOutput, x);
      using means = globalAveragePoolForward(x);
      const plane = values.length / (images * channels);
      const expected: number[][] = [[], [], [], []];
      for (let p = 0; p < images * channels; p++) {
        const [centre = 0, scale = 0, shift = 0] = coefficientValues.subarray(p % channels * 4);
        const own = Array.from(values.subarray(p * plane, (p + 1) * plane));
        const g = own.map((value, i) =>
          (value - centre) * scale + shift > 0 ? gradients[p * plane + i] as number : 0
        );
        const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
        const mean = sum(own) / plane;
        expected[0]?.push(mean, sum(own.map((value) => (value - mean) ** 2)));
        expected[1]?.push(sum(g), sum(g.map((g, i) => g * ((own[i] as number) - centre))));
        expected[2]?.push(sum(own.map((value, i) => value * (gradients[p * plane + i] as number))));
        expected[3]?.push(mean);
      }
      const found = await gpu.readAll([moments, sums, dots, means]);
      ["moments", "sums", "dots", "means"].forEach((name, i) =>
        assertAllClose(name, found[i] as Float32Array, expected[i] as number[], { atol: 5e-5 })
      );
      // A NaN is seen in the numbers of its plane, and nowhere else.
      values[plane] = NaN;
      gpu.write(x, values);
      const again = [planeMoments(x), planeDots(gradOutput, x), globalAveragePoolForward(x)];
      const [broken, ...others] = await gpu.readAll(again);
      for (const array of again) array.release();
      const everyOther = broken?.filter((_, i) => i % 2 === 0); // the means
      for (const numbers of [everyOther, ...others]) {
        assert.deepEqual(
          Array.from(numbers ?? [], Number.isNaN),
          Array.from(numbers ?? [], (_, p) => p === 1),
        );
      }
    });
  }
}

Deno.test("more planes than a grid has rows are all multiplied", async () => {
  const gpu = await testGpu();
  const planes = 70_001;
  const values = Float32Array.from({ length: planes }, (_, i) => i % 1000);
  using x = gpu.upload(values, [1, planes, 1, 1], "x");
  using factor = gpu.upload(values.map((value) => value + 1), [1, planes], "factor");
  using product = multiplyPlanes(x, factor);
  assert.deepEqual(await product.read(), values.map((value) => value * (value + 1)));
});
