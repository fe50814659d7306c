import { strict as assert } from "node:assert";
import { addForward, fill } from "../../kernels/elementwise.ts";
import { groupNormBackward, groupNormForward } from "../../kernels/group_norm.ts";
import { countNonfinite } from "../../kernels/nonfinite.ts";
import { multiplyPlanes } from "../../kernels/plane_maps.ts";
import { planeDots, planeMoments } from "../../kernels/plane_sums.ts";
import { Device } from "../../kernels/runtime/device.ts";
import type { AnyArray, Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { sgdStep } from "../../kernels/sgd.ts";
import { strideFor } from "../../kernels/spread.ts";
import { assertAllClose, randomNd, seededRandom } from "../_check.ts";
import { testGpu } from "../_device.ts";

/** Devices that claim to be a CPU and a GPU, whatever the machine has. */
async function bothKinds(): Promise<Gpu[]> {
  const { device, adapter } = await testGpu();
  return [true, false].map((isFallback) => new Device(device, { ...adapter, isFallback }, {}));
}

/** Runs `run` on random arrays with each layout and compares what it returns. */
async function compare(
  shapes: readonly (readonly number[])[],
  run: (...arrays: GpuArray[]) => AnyArray[],
): Promise<void> {
  const results: ArrayLike<number>[][] = [];
  for (const gpu of await bothKinds()) {
    const random = seededRandom(3);
    const arrays = shapes.map((shape) =>
      gpu.upload(Float32Array.from(randomNd(shape, random).data), shape, "input")
    );
    const outputs = run(...arrays);
    results.push(await gpu.readAll(outputs));
    for (const array of [...arrays, ...outputs]) array.release();
  }
  results[0].forEach((values, i) => assertAllClose(`result ${i}`, results[1][i], values));
}

Deno.test("CPU and GPU adapters get different layouts", async () => {
  const [cpu, gpu] = (await bothKinds()).map((gpu) => strideFor({ workgroupSize: 64 }, gpu));
  assert.equal(cpu, 1);
  assert.equal(gpu, 64);
});

Deno.test("element-wise kernels give the same numbers with either layout", () =>
  compare([[2500], [2500], [2500]], (a, b, c) => {
    sgdStep(a, b, c, { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 });
    const filled = a.gpu.empty([1025], "filled");
    fill(filled, Infinity);
    return [addForward(a, b), a.retain(), b.retain(), filled, countNonfinite(a.gpu, [a, filled])];
  }));

Deno.test("plane kernels give the same numbers with either layout", () =>
  compare([[2, 4, 33, 65], [2, 4], [4], [4], [2, 4, 33, 65]], (x, factor, weight, bias, grad) => {
    const options = { groups: 2, eps: 1e-5, relu: true };
    const { output, coefficients } = groupNormForward(x, weight, bias, options);
    const forward = { coefficients, relu: true };
    const { gradInput, gradWeight, gradBias } = groupNormBackward(grad, x, weight, forward, {
      groups: 2,
      needsInput: true,
    });
    assert.ok(gradInput);
    return [
      output,
      coefficients,
      gradInput,
      gradWeight,
      gradBias,
      planeMoments(x),
      planeDots(grad, x),
      multiplyPlanes(x, factor),
    ];
  }));
