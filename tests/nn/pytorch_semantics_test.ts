// Operations whose PyTorch definition is easily missed, forward and gradients against PyTorch
// itself.

import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { batchNorm } from "../../nn/functional/batch_norm.ts";
import { conv2d } from "../../nn/functional/conv2d.ts";
import { groupNorm } from "../../nn/functional/group_norm.ts";
import { crossEntropy } from "../../nn/functional/losses.ts";
import { maxPool2d, resizeBilinear } from "../../nn/functional/spatial.ts";
import { backward, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";
import { Fill, type Whole } from "../goldens/fill.ts";
import { assertWhole, readGolden } from "../goldens/golden.ts";

interface Case {
  readonly name: string;
  readonly operation: string;
  readonly shapes: readonly (readonly number[])[];
  readonly options: Record<string, unknown>;
  readonly output: Whole;
  readonly gradients: readonly Whole[];
  readonly runningMean?: Whole;
  readonly runningVar?: Whole;
}

/** What an operation returns, and arrays it changed. */
interface Result {
  readonly output: Tensor;
  readonly changed?: Record<string, GpuArray>;
}

const golden = readGolden<{ salt: string; cases: Case[] }>("operations");
const fill = new Fill(golden.salt);

/** Every operation by its name; options are the golden's, which are the function's. */
const OPERATIONS: Record<
  string,
  // deno-lint-ignore no-explicit-any -- options come from a file
  (gpu: Gpu, options: any, inputs: [Tensor, Tensor, Tensor]) => Result
> = {
  maxPool2d: (_, options, [x]) => ({ output: maxPool2d(x, options) }),
  groupNorm: (_, options, [x, weight, bias]) => ({ output: groupNorm(x, weight, bias, options) }),
  resizeBilinear: (_, options, [x]) => ({ output: resizeBilinear(x, options) }),
  conv2d: (_, options, [x, weight, bias]) => ({ output: conv2d(x, weight, bias, options) }),
  crossEntropy: (gpu, _, [x]) => {
    const labels = gpu.upload(
      fill.labels("crossEntropy.labels", [2, 9, 6], 4),
      [2, 9, 6],
      "labels",
    );
    const output = crossEntropy(x, labels);
    labels.release();
    return { output };
  },
  batchNorm: (gpu, options, [x, weight, bias]) => {
    const variance = fill.signed("batchNorm.runningVar", 3).map((value) => value + 2);
    const runningMean = gpu.upload(fill.signed("batchNorm.runningMean", 3), [3], "running mean");
    const runningVar = gpu.upload(variance, [3], "running variance");
    const output = batchNorm(x, { weight, bias }, { runningMean, runningVar }, options);
    return { output, changed: { runningMean, runningVar } };
  },
};

for (const { name, operation, shapes, options, output, gradients, ...changed } of golden.cases) {
  const title = `${operation} of ${JSON.stringify(shapes[0])} with ${JSON.stringify(options)}`;
  Deno.test(`${title} agrees with PyTorch`, async () => {
    const gpu = await testGpu();
    const inputs = shapes.map((shape, index) =>
      tensor(gpu, fill.signed(`${name}.input${index}`, size(shape)), shape, { requiresGrad: true })
    );
    const run = OPERATIONS[operation];
    assert.ok(run, `the golden has an operation ${operation} that the test does not know`);
    const result = scope(() => {
      const made = run(gpu, options, inputs as [Tensor, Tensor, Tensor]);
      const gradOutput = fill.signed(`${name}.gradOutput`, made.output.array.size);
      backward(made.output, gpu.upload(gradOutput, made.output.shape, "gradient"));
      return made;
    });
    const found = { shape: result.output.shape, data: await result.output.read() };
    assertWhole("output", found, output, 1e-5);
    for (const [index, { grad }] of inputs.entries()) {
      assert.ok(grad, `input ${index} has no gradient`);
      const gradient = { shape: grad.shape, data: await grad.read() };
      assertWhole(`gradient of input ${index}`, gradient, gradients[index] as Whole, 5e-5);
    }
    for (const [key, array] of Object.entries(result.changed ?? {})) {
      const expected = changed[key as keyof typeof changed] as Whole;
      assertWhole(key, { shape: array.shape, data: await array.read() }, expected, 1e-5);
      array.release();
    }
    result.output.dispose();
    for (const input of inputs) input.dispose();
  });
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
