// Loss scaling: gradients are those of the loss, steps that overflow move nothing, and the scale follows.

import assert from "node:assert/strict";
import { judgeLossScale } from "../../kernels/loss_scale.ts";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { mul, scale, sum } from "../../nn/functional/elementwise.ts";
import { linear } from "../../nn/functional/linear.ts";
import { LossScale } from "../../nn/loss_scale.ts";
import { Sgd } from "../../nn/optim.ts";
import { scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";

const OPTIONS = { patience: 3, largest: 16 };

async function judged(gpu: Gpu, state: GpuArray, found: number): Promise<number[]> {
  using count = gpu.upload(new Uint32Array([found]), [], "found");
  judgeLossScale(state, count, OPTIONS);
  return [...await state.read()];
}

Deno.test("a scale doubles after steps in a row that were finite, and halves at one that was not", async () => {
  const gpu = await testGpu();
  using state = gpu.upload(new Float32Array([8, 0, 0]), [3], "state");
  assert.deepEqual(await judged(gpu, state, 0), [8, 1, 1 / 8]);
  assert.deepEqual(await judged(gpu, state, 0), [8, 2, 1 / 8]);
  assert.deepEqual(await judged(gpu, state, 5), [4, 0, 0], "a step that overflowed moves nothing");
  for (const steps of [1, 2]) assert.deepEqual(await judged(gpu, state, 0), [4, steps, 1 / 4]);
  assert.deepEqual(await judged(gpu, state, 0), [8, 0, 1 / 4], "gradients are of the scale before");
  for (let step = 0; step < 9; step++) await judged(gpu, state, 0);
  assert.equal((await state.read())[0], OPTIONS.largest);
  for (let step = 0; step < 9; step++) await judged(gpu, state, 1);
  assert.equal((await state.read())[0], 1, "it does not fall below 1");
});

/** Two parameters of one group, and a loss w x + b summed up, times `factor`. */
function problem(gpu: Gpu, lossScale: LossScale | undefined) {
  const weight = tensor(gpu, [0.5, -1], [1, 2], { requiresGrad: true });
  const bias = tensor(gpu, [0.25], [1], { requiresGrad: true });
  const parameters = new Map<string, Tensor>([["weight", weight], ["bias", bias]]);
  const optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 0.1, lossScale });
  const step = (factor: number) => {
    using x = tensor(gpu, [3, 4], [1, 2]);
    scope(() => {
      const y = linear(x, weight, bias);
      optimiser.backward(scale(sum(mul(y, y)), factor));
    });
    optimiser.step(0.1);
    optimiser.zeroGrad();
  };
  const read = async () => [...await weight.array.read(), ...await bias.array.read()];
  return {
    optimiser,
    step,
    read,
    [Symbol.dispose]() {
      optimiser.dispose();
      weight.dispose();
      bias.dispose();
    },
  };
}

Deno.test("an optimiser with a loss scale steps as one without", async () => {
  const gpu = await testGpu();
  using plain = problem(gpu, undefined);
  using scaled = problem(gpu, new LossScale(gpu));
  for (let step = 0; step < 3; step++) {
    plain.step(0.01);
    scaled.step(0.01);
  }
  assert.deepEqual(await scaled.read(), await plain.read(), "a power of two costs no digit");
});

Deno.test("gradients that are not finite leave parameters and velocities, and halve the scale", async () => {
  const gpu = await testGpu();
  using scaled = problem(gpu, new LossScale(gpu));
  scaled.step(0.01);
  const before = await scaled.read();
  const [scaleBefore] = await scaled.optimiser.state().get("lossScale")!.read();
  const velocity = await scaled.optimiser.state().get("velocity.weight")!.read();
  scaled.step(Infinity);
  assert.deepEqual(await scaled.read(), before);
  assert.deepEqual(await scaled.optimiser.state().get("velocity.weight")!.read(), velocity);
  assert.equal((await scaled.optimiser.state().get("lossScale")!.read())[0], scaleBefore / 2);
  scaled.step(0.01);
  assert.notDeepEqual(await scaled.read(), before, "the next step moves them again");
});
