// A NaN anywhere shows in what training looks at: nothing on the way may take it for a number.
//
// WGSL lets an implementation assume that there is no NaN, so what the library promises is less than
// IEEE 754: layers hand a NaN on, by its bits where arithmetic would not; of a loss no more than that
// it is not finite, which is what training looks for. Where exp() keeps a NaN, it is NaN.

import assert from "node:assert/strict";
import { defineKernel, dispatch, type GpuArray } from "../../kernels/runtime/mod.ts";
import * as functional from "../../nn/functional/mod.ts";
import { noGrad, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";

const gpu = await testGpu();

/** Of both signs. */
const NANS = [0x7fc00000, 0xffc00000];

/** Six finite numbers, of which one is a NaN of some bits. */
function withNan(bits: number, at: number): Float32Array<ArrayBuffer> {
  const values = Float32Array.of(0.5, -1, 2, -0.25, 0.75, 0.125);
  new Uint32Array(values.buffer)[at] = bits;
  return values;
}

/** Whether exp() of a NaN is NaN; SwiftShader's is infinite. */
async function expKeepsNan(): Promise<boolean> {
  const exponential = defineKernel({
    name: "exponential",
    file: "exponential.wgsl",
    source: `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { count: u32 }
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(1) fn forward() { if (params.count == 1) { y[0] = exp(x[0]); } }`,
    entry: "forward",
    reads: ["x"],
    writes: ["y"],
    params: { count: "u32" },
  });
  using x = gpu.upload(Float32Array.of(NaN), [1], "x");
  using y = gpu.empty([1], "y");
  dispatch(exponential, { x, y }, { count: 1 }, [1]);
  return Number.isNaN((await y.read())[0]);
}

/** Checks that `make` shows a NaN at any place of [1, 3, 1, 2]: three classes of two pixels. */
async function showsNan(
  name: string,
  make: (x: Tensor) => Tensor,
  shows: (value: number) => boolean,
): Promise<void> {
  for (const bits of NANS) {
    for (let at = 0; at < 6; at++) {
      const x = tensor(gpu, withNan(bits, at), [1, 3, 1, 2]);
      const y = noGrad(() => scope(() => make(x)));
      const found = await y.read();
      assert.ok(found.some(shows), `${name} hides ${bits.toString(16)} at ${at}: ${found}`);
      x.dispose();
      y.dispose();
    }
  }
}

function upload(values: readonly number[], shape: readonly number[]): GpuArray {
  return gpu.upload(Float32Array.from(values), shape, "values");
}

const labels = gpu.upload(Uint32Array.of(0, 2), [1, 1, 2], "labels");
const third = [1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3];
const everywhere = upload([1, 1], [1, 1, 2]);
const soft = upload(third, [1, 3, 1, 2]);
const zeros = tensor(gpu, [0, 0, 0, 0, 0, 0], [1, 3, 1, 2]);
const ones = { weight: tensor(gpu, [1, 1, 1], [3]), bias: tensor(gpu, [0, 0, 0], [3]) };
const running = { runningMean: upload([0, 0, 0], [3]), runningVar: upload([1, 1, 1], [3]) };

const LOSSES: Record<string, (x: Tensor) => Tensor> = {
  crossEntropy: (x) => functional.crossEntropy(x, labels),
  "symmetricCrossEntropy, its second term alone": (x) =>
    functional.symmetricCrossEntropy(x, labels, { alpha: 0, beta: 1 }),
  softCrossEntropy: (x) => functional.softCrossEntropy(x, soft, labels),
  "softCrossEntropy, of its labels": (x) => functional.softCrossEntropy(zeros, x.array, labels),
  klDivergence: (x) => functional.klDivergence(x, soft),
  "klDivergence, of its targets": (x) => functional.klDivergence(zeros, x.array),
  featureDistance: (x) => functional.featureDistance(x, soft, everywhere),
  "featureDistance, of its anchors": (x) => functional.featureDistance(zeros, x.array, everywhere),
  uniformPrior: (x) => functional.uniformPrior(x),
  leastSquaresLoss: (x) => functional.leastSquaresLoss(x, 1),
  bceWithLogitsLoss: (x) => functional.bceWithLogitsLoss(x, 1),
};

const LAYERS: Record<string, (x: Tensor) => Tensor> = {
  relu: (x) => functional.relu(x),
  leakyRelu: (x) => functional.leakyRelu(x, 0.2),
  sigmoid: (x) => functional.sigmoid(x),
  addRelu: (x) => functional.addRelu(x, zeros),
  "addRelu, of the second": (x) => functional.addRelu(zeros, x),
  softmax: (x) => functional.softmax(x),
  logSoftmax: (x) => functional.logSoftmax(x),
  "batchNorm, training": (x) =>
    functional.batchNorm(x, ones, running, { training: true, momentum: 0, relu: true }),
  "batchNorm, evaluating": (x) =>
    functional.batchNorm(x, ones, running, { training: false, relu: true }),
  groupNorm: (x) => functional.groupNorm(x, ones.weight, ones.bias, { groups: 1, relu: true }),
  maxPool2d: (x) => functional.maxPool2d(x, { kernel: 3, stride: 1, padding: 1, ceilMode: false }),
  globalAveragePool: (x) => functional.globalAveragePool(x),
  resizeBilinear: (x) => functional.resizeBilinear(x, { height: 2, width: 3 }),
};

for (const [name, make] of Object.entries(LAYERS)) {
  Deno.test(`the layer ${name} shows a NaN of any bits`, () => showsNan(name, make, Number.isNaN));
}

for (const [name, make] of Object.entries(LOSSES)) {
  Deno.test(`the loss ${name} shows a NaN of any bits`, async () => {
    const keeps = await expKeepsNan();
    await showsNan(name, make, keeps ? Number.isNaN : (value) => !Number.isFinite(value));
  });
}
