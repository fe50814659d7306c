// Activations in half precision: the same forward to the bit, gradients within a tolerance of their
// own.

import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { Activation, storeActivations } from "../../nn/activation.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import { crossEntropy } from "../../nn/functional/losses.ts";
import { backward, scope } from "../../nn/tape.ts";
import { tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";
import { Fill } from "../goldens/fill.ts";

const SHAPE = [2, 3, 65, 64];
const CLASSES = 3;
/**
 * Of the norm of all gradients. A half is off by a 4096th, but a ReLU whose input is as near to
 * zero passes or stops a whole gradient: a share s of such elements is an error of √s, in every
 * layer. As much as that, 0.014 here, comes of rounding the images to halves.
 */
const TOLERANCE = { kept: 0.005, recomputed: 0.02 };

/** Logits, running statistics and gradients of one pass, and the bytes kept for the backward. */
async function pass(gpu: Gpu, options: Partial<DeepLabOptions>) {
  const fill = new Fill("activations");
  using network = new DeepLab(gpu, {
    blocks: [1, 2, 1, 1],
    width: 8,
    classes: CLASSES,
    headChannels: 16,
    groups: 4,
    ...options,
  });
  using images = tensor(gpu, fill.signed("images", SHAPE.reduce((a, b) => a * b)), SHAPE);
  const { kept, logits } = scope(() => {
    const held = () => gpu.memory.live - gpu.memory.derived;
    const before = held();
    const { logits } = network.forward(images);
    const kept = held() - before;
    const [count = 0, , height = 0, width = 0] = logits.shape;
    const labels = fill.labels("labels", [count, height, width], CLASSES);
    using labelled = gpu.upload(labels, [count, height, width], "labels");
    backward(crossEntropy(logits, labelled));
    return { kept, logits: logits.array.retain() };
  });
  const forward = [logits, ...network.namedBuffers().values()];
  const gradients = new Map(
    [...network.namedParameters()].map(([name, { grad }]) => {
      assert.ok(grad, name);
      return [name, grad] as const;
    }),
  );
  const values = await gpu.readAll([...forward, ...gradients.values()]);
  logits.release();
  return {
    kept,
    forward: values.slice(0, forward.length),
    gradients: new Map(
      [...gradients.keys()].map((name, index) => [name, values[forward.length + index]]),
    ),
  };
}

function norm(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));
}

for (const recompute of [false, true]) {
  const how = recompute ? ", with recomputation," : "";
  Deno.test(`half activations${how} leave the forward alone, gradients alike, and less memory`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const whole = await pass(gpu, { recompute });
    const half = await pass(gpu, { recompute, activations: "f16" });
    assert.equal(gpu.memory.live, before, "bytes were left behind");
    assert.deepEqual(half.forward, whole.forward, "logits and running statistics");
    assert.ok(half.kept < 0.7 * whole.kept, `${half.kept} of ${whole.kept} bytes are kept`);
    const tolerance = TOLERANCE[recompute ? "recomputed" : "kept"];
    const all = ({ gradients }: typeof whole) =>
      [...gradients.values()].flatMap((gradient) => [...gradient ?? []]);
    const [expected, found] = [all(whole), all(half)];
    const error = norm(expected.map((value, index) => value - (found[index] as number)));
    const share = error / norm(expected);
    assert.ok(share > 1e-6, "something was rounded");
    assert.ok(share <= tolerance, `gradients differ by ${share} of their norm`);
  });
}

Deno.test("an activation that two operations keep is packed once, and small ones not at all", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  using large = gpu.upload(new Float32Array(8192).fill(1 / 3), [8192], "large");
  using small = gpu.upload(Float32Array.of(1 / 3), [1], "small");
  const held = gpu.memory.live;
  const kept = storeActivations("f16", () =>
    [large, large, small].map((array) => {
      return new Activation(array).retain();
    }));
  assert.equal(gpu.memory.live - held, 8192 * 2);
  for (const [index, activation] of kept.entries()) {
    using opened = activation.open();
    const third = (await opened.read())[0] as number;
    const expected = index < 2 ? 0.333251953125 : Math.fround(1 / 3);
    assert.equal(third, expected);
    activation.release();
  }
  assert.equal(
    gpu.memory.live - gpu.memory.derived,
    held,
    "halves go with the last that keeps them",
  );
  assert.ok(held > before);
});

Deno.test("storeActivations() refuses an async function and stores as before", async () => {
  const gpu = await testGpu();
  using array = gpu.zeros([8192], "array");
  const held = gpu.memory.live;
  assert.throws(
    // @ts-expect-error The compiler refuses it too.
    () => storeActivations("f16", () => Promise.resolve()),
    /^TypeError: Cannot run storeActivations on a function that returns a promise as what follows/,
  );
  const kept = new Activation(array).retain();
  assert.equal(gpu.memory.live, held, "it was not packed");
  kept.release();
});
