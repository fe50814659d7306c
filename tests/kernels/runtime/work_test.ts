// How much one submission holds, and how much one dispatch: results depend on neither.

import { strict as assert } from "node:assert";
import { addForward, scaleForward } from "../../../kernels/elementwise.ts";
import {
  defineKernel,
  dispatch,
  type Gpu,
  openGpu,
  planningGpu,
} from "../../../kernels/runtime/mod.ts";
import { MOST_BYTES, slowSeconds, WorkMeter } from "../../../kernels/runtime/work.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { crossEntropy } from "../../../nn/functional/losses.ts";
import { Sgd } from "../../../nn/optim.ts";
import { backward, input, scope } from "../../../nn/tape.ts";
import { Fill } from "../../goldens/fill.ts";
import { assertSame } from "../../_same.ts";

/** A kernel of which a test says how long it takes. */
const busy = defineKernel({
  name: "busy",
  file: "busy.wgsl",
  source: `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn wait() { x[0] = 1; }`,
  entry: "wait",
  reads: [],
  writes: ["x"],
});

/** Submissions of a planning device while `use` runs. */
function submissions(gpu: Gpu, use: () => void): number {
  const before = gpu.queue.serial;
  use();
  return gpu.queue.serial - before;
}

Deno.test("work is what takes longer on a slow GPU, operations or bytes", () => {
  assert.equal(slowSeconds(1e12, 0), 1);
  assert.equal(slowSeconds(1e12, 1e11), 2);
  assert.equal(slowSeconds(0, 5e8), 0.01);
});

Deno.test("a submission holds as much work as the GPU has been seen to run in its time", () => {
  let now = 1000;
  const meter = new WorkMeter(0.25, () => now);
  assert.ok(meter.fits(5), "one dispatch always does");
  meter.add(0.125);
  assert.ok(meter.fits(0.125) && !meter.fits(0.13));
  meter.submit();
  assert.ok(meter.fits(5), "and again after a submission");
  now += 100;
  meter.add(0.5);
  meter.submit();
  const done = meter.wait();
  meter.add(100); // of the next wait
  meter.submit();
  now += 25;
  done(); // 0.625 in 0.125 s
  meter.add(0.25);
  assert.ok(meter.fits(1) && !meter.fits(1.01));
  meter.submit();
  const slow = meter.wait();
  now += 1e6; // the time holds more than the work
  slow();
  meter.add(0.25);
  assert.ok(meter.fits(1) && !meter.fits(1.01));
});

Deno.test("dispatches are submitted once they fill a submission, and not before", () => {
  using gpu = planningGpu({ maxSubmitSeconds: 0.25 });
  const [second, millisecond] = [1e12, 1e12 / 1024]; // on a slow GPU
  using x = gpu.empty([1], "x");
  const run = (times: number, flops: number) => {
    for (let i = 0; i < times; i++) dispatch(busy, { x }, {}, 1, { flops });
  };
  assert.equal(submissions(gpu, () => run(256, millisecond)), 0);
  assert.equal(submissions(gpu, () => run(1, millisecond)), 1);
  assert.equal(submissions(gpu, () => run(255, millisecond)), 0);
  assert.equal(submissions(gpu, () => run(3, second)), 3);
  gpu.flush();
  assert.equal(submissions(gpu, () => run(1, second)), 0, "nothing would be before it");
  gpu.flush();
  using large = gpu.empty([2 ** 24], "large");
  using other = gpu.empty([2 ** 24], "other");
  const copies = Math.floor(0.25 / slowSeconds(0, 2 * large.byteLength));
  const copy = () => {
    for (let i = 0; i < copies; i++) gpu.copy(large, other);
  };
  assert.equal(submissions(gpu, copy), 0);
  assert.equal(submissions(gpu, () => run(1, 10 * millisecond)), 1, "copies count");
});

Deno.test("software adapters and plans are given everything at once, GPUs are not", async () => {
  const taken = (gpu: Gpu) => {
    using x = gpu.empty([1], "x");
    const run = () => {
      for (let i = 0; i < 4; i++) dispatch(busy, { x }, {}, 1, { flops: 1e12 });
    };
    return submissions(gpu, run);
  };
  using plan = planningGpu();
  assert.equal(taken(plan), 0);
  using gpu = await openGpu();
  assert.equal(taken(gpu), gpu.adapter.isFallback ? 0 : 3);
});

Deno.test("a dispatch binds no more bytes than a slow GPU reads in its time", async () => {
  const limits = { maxBufferSize: 2 ** 33, maxStorageBufferBindingSize: 2 ** 32 };
  using gpu = planningGpu({ limits });
  using x = gpu.empty([48, 2 ** 24], "x");
  using scaled = scaleForward(x, 2);
  using sum = addForward(x, scaled);
  assert.equal(sum.size, x.size);
  await gpu.finish();
  const kernels = await gpu.profiler!.report();
  const calls = Object.fromEntries(kernels.map(({ label, calls }) => [label, calls]));
  assert.deepEqual(calls, { scale: 1, add: 2 });
  for (const { label, bytes, calls } of kernels) assert.ok(bytes / calls <= MOST_BYTES, label);
});

/** Bits of a network's weights after two updates, and submissions that they took. */
async function train(maxSubmitSeconds: number) {
  using gpu = await openGpu({ maxSubmitSeconds });
  const fill = new Fill("work");
  const size = { blocks: [1, 1, 1, 1], width: 4, classes: 3, headChannels: 8, groups: 4 };
  using network = new DeepLab(gpu, size);
  using optimiser = new Sgd([{ parameters: network.namedParameters() }], { momentum: 0.9 });
  const taken = [];
  for (const step of [0, 1]) {
    using images = gpu.upload(fill.signed(`images ${step}`, 3 * 33 * 41), [1, 3, 33, 41], "images");
    const before = gpu.queue.serial;
    scope(() => {
      const { logits } = network.forward(input(images));
      const [, , rows = 0, columns = 0] = logits.shape;
      const ids = fill.labels(`labels ${step}`, [1, rows, columns], size.classes);
      using labels = gpu.upload(ids, [1, rows, columns], "labels");
      backward(crossEntropy(logits, labels));
    });
    optimiser.step(0.1);
    gpu.flush();
    taken.push(gpu.queue.serial - before);
  }
  return { taken, bits: await gpu.readAll([...network.stateDict().values()]) };
}

Deno.test("a submission for every dispatch gives the bits of one for a step", async () => {
  const one = await train(Infinity);
  const many = await train(0);
  assert.deepEqual(one.taken, [1, 1]);
  assert.ok(many.taken.every((submissions) => submissions > 100), `${many.taken}`);
  assertSame(many.bits, one.bits);
});
