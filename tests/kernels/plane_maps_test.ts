import { strict as assert } from "node:assert";
import { batchNormBackward, batchNormCoefficients } from "../../kernels/batch_norm.ts";
import { groupNormBackward, groupNormForward } from "../../kernels/group_norm.ts";
import { multiplyPlanes, normalisePlanes } from "../../kernels/plane_maps.ts";
import { planeDots } from "../../kernels/plane_sums.ts";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { randomNd, seededRandom } from "../_check.ts";
import { narrowGpu, testGpu } from "../_device.ts";

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

Deno.test("an image larger than one binding gives the same bits, plane by plane", async () => {
  const [whole, split] = [await testGpu(), await narrowGpu(1024)]; // an image takes 2772 bytes
  assert.deepEqual(await everything(split), await everything(whole));
});

Deno.test("more planes than a grid has rows are all multiplied", async () => {
  const gpu = await testGpu();
  const planes = 70_001;
  const values = Float32Array.from({ length: planes }, (_, i) => i % 1000);
  using x = gpu.upload(values, [1, planes, 1, 1], "x");
  using factor = gpu.upload(values.map((value) => value + 1), [1, planes], "factor");
  using product = multiplyPlanes(x, factor);
  assert.deepEqual(await product.read(), values.map((value) => value * (value + 1)));
});
