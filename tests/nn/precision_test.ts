// Networks that multiply in halves: near the ones that do not, in the forward and in the gradients.

import { strict as assert } from "node:assert";
import { type Gpu, GpuError } from "../../kernels/runtime/mod.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import { conv2d } from "../../nn/functional/conv2d.ts";
import { crossEntropy } from "../../nn/functional/losses.ts";
import { computeIn } from "../../nn/precision.ts";
import { backward, scope } from "../../nn/tape.ts";
import { tensor } from "../../nn/tensor.ts";
import { assertSame } from "../_same.ts";
import { testGpu } from "../_device.ts";
import { testInHalves } from "../_halves.ts";
import { Fill } from "../goldens/fill.ts";

const SHAPE = [2, 3, 33, 32];
const CLASSES = 3;
const NETWORK = {
  blocks: [1, 1, 1, 1],
  width: 8,
  classes: CLASSES,
  headChannels: 16,
  groups: 4,
} as const;
/** Relative, by norm. A ReLU near zero passes or stops a whole gradient, so gradients differ more. */
const TOLERANCE = { logits: 0.01, gradients: 0.1 };

/** Logits, and all gradients one after the other. */
async function pass(gpu: Gpu, options: Partial<DeepLabOptions>) {
  const fill = new Fill("precision");
  using network = new DeepLab(gpu, { ...NETWORK, ...options });
  using images = tensor(gpu, fill.signed("images", SHAPE.reduce((a, b) => a * b)), SHAPE);
  const logits = scope(() => {
    const { logits } = network.forward(images);
    const [count = 0, , height = 0, width = 0] = logits.shape;
    const labels = fill.labels("labels", [count, height, width], CLASSES);
    using labelled = gpu.upload(labels, [count, height, width], "labels");
    backward(crossEntropy(logits, labelled));
    return logits.array.retain();
  });
  const gradients = [...network.namedParameters().values()].flatMap(({ grad }) => grad ?? []);
  const [values = [], ...rest] = await gpu.readAll([logits, ...gradients]);
  logits.release();
  return {
    logits: Float32Array.from(values),
    gradients: Float32Array.from(rest.flatMap((array) => [...array])),
  };
}

function distance(found: Float32Array, expected: Float32Array): number {
  const norm = (values: Float32Array) =>
    Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return norm(found.map((value, index) => value - expected[index])) / norm(expected);
}

testInHalves(
  "a network in f16 is near the one in f32, in its gradients too, recomputed or not",
  async () => {
    const gpu = await testGpu("shared");
    const exact = await pass(gpu, {});
    const halves = await pass(gpu, { compute: "f16" });
    for (const what of ["logits", "gradients"] as const) {
      const off = distance(halves[what], exact[what]);
      assert.ok(off < TOLERANCE[what], `${what} are off by ${off}`);
      assert.ok(off > 1e-5, `${what} are those of f32`);
    }
    const again = await pass(gpu, { compute: "f16", recompute: true });
    assertSame(again, halves, "a block that runs again multiplies the same numbers");
  },
);

testInHalves("the precision is that in which an operation was recorded", async () => {
  const gpu = await testGpu("shared");
  using x = tensor(gpu, [1 + 2 ** -12, 1], [1, 1, 1, 2]);
  using weight = tensor(gpu, [1], [1, 1, 1, 1], { requiresGrad: true });
  const read = async (run: () => void) => {
    scope(run);
    const grad = await weight.grad?.read();
    weight.zeroGrad();
    return grad?.[0];
  };
  const ones = () => gpu.upload(new Float32Array([1, 1]), [1, 1, 1, 2], "ones");
  const inHalves = () => computeIn("f16", () => conv2d(x, weight, null));
  assert.equal(await read(() => backward(inHalves(), ones())), 2, "what is lost is 2^-12");
  assert.equal(await read(() => backward(conv2d(x, weight, null), ones())), 2 + 2 ** -12);
});

Deno.test("a network in f16 is refused where there are no halves", async () => {
  const gpu = await testGpu("direct");
  assert.throws(
    () => new DeepLab(gpu, { ...NETWORK, compute: "f16" }),
    (error: Error) =>
      error instanceof GpuError && /direct kernels have no such/.test(error.message),
  );
});
