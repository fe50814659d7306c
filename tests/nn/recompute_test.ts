// Recomputed blocks: the same bits for less memory, and activations that go as the backward passes.

import { strict as assert } from "node:assert";
import { addRelu, mul, relu, scale } from "../../nn/functional/elementwise.ts";
import { crossEntropy } from "../../nn/functional/losses.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import { elementCount, type Gpu, type GpuArray } from "../../kernels/runtime/mod.ts";
import { batchNorm } from "../../nn/functional/batch_norm.ts";
import { once, recompute } from "../../nn/recompute.ts";
import { backward, noGrad, record, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import { Fill } from "../goldens/fill.ts";
import { assertSame } from "../_same.ts";

const NETWORK = {
  blocks: [1, 2, 2, 1],
  width: 4,
  classes: 3,
  headChannels: 8,
  groups: 4,
  dropout: 0.4,
} satisfies DeepLabOptions;

const SHAPE = [2, 3, 37, 50];
const IMAGES = 2;

/**
 * Bits of everything that two passes and one backward each leave behind, and the bytes they took.
 */
async function passes(gpu: Gpu, options: { recompute: boolean; head?: "proda" | "classic" }) {
  const fill = new Fill("recompute");
  using network = new DeepLab(gpu, { ...NETWORK, ...options });
  network.setStep(1, 5);
  const data = fill.signed("images", SHAPE.reduce((a, b) => a * b));
  using input = tensor(gpu, data, SHAPE, { requiresGrad: true });
  const arrays = new Map(network.stateDict());
  for (const pass of [0, 1]) {
    scope(() => {
      const { features, logits } = network.forward(input);
      const [, , rows = 0, columns = 0] = logits.shape;
      const labels = fill.labels(`labels ${pass}`, [IMAGES, rows, columns], NETWORK.classes);
      using labelled = gpu.upload(labels, [IMAGES, rows, columns], "labels");
      arrays.set(`logits ${pass}`, logits.array.retain());
      arrays.set(`features ${pass}`, features.array.retain());
      backward(crossEntropy(logits, labelled));
    });
  }
  for (const [name, { grad }] of network.namedParameters()) {
    assert.ok(grad, `${name} has a gradient`);
    arrays.set(`gradient of ${name}`, grad);
  }
  if (input.grad) arrays.set("gradient of the images", input.grad);
  const values = await gpu.readAll([...arrays.values()]);
  for (const [name, array] of arrays) if (/^(logits|features) /.test(name)) array.release();
  return new Map([...arrays.keys()].map((name, index) => [name, values[index]]));
}

for (const head of ["proda", "classic"] as const) {
  Deno.test(`a recomputed DeepLab with the ${head} head has the same bits everywhere`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const kept = await passes(gpu, { recompute: false, head });
    const again = await passes(gpu, { recompute: true, head });
    assert.equal(gpu.memory.live, before, "bytes were left behind");
    assert.deepEqual([...again.keys()], [...kept.keys()]);
    for (const [name, values] of kept) assertSame(again.get(name), values, name);
    const [first, second] = [kept.get("features 0"), kept.get("features 1")];
    assert.equal(first?.join() === second?.join(), head === "classic", "only one head has dropout");
  });
}

Deno.test("a recomputed DeepLab keeps less than half of the bytes for its backward", async () => {
  const gpu = await testGpu();
  const bytesKept = (recompute: boolean): number => {
    using network = new DeepLab(gpu, { ...NETWORK, recompute });
    const data = new Fill("recompute").signed("images", SHAPE.reduce((a, b) => a * b));
    using input = tensor(gpu, data, SHAPE);
    return scope(() => {
      const held = () => gpu.memory.live - gpu.memory.derived;
      const before = held();
      network.forward(input);
      return held() - before;
    });
  };
  const [kept, again] = [bytesKept(false), bytesKept(true)];
  assert.ok(again < kept / 2, `${again} of ${kept} bytes`);
});

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`a recomputed batch norm with its residual has the same bits, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const fill = new Fill("recomputed norm");
    const shapes = [[2, 3, 5, 9], [3], [3], [2, 3, 5, 9]];
    const values = shapes.map((shape, i) => fill.signed(`input ${i}`, elementCount(shape)));
    const start = fill.signed("gradient", 270);
    const run = async (wrap: typeof recompute) => {
      const inputs = shapes.map((shape, i) =>
        tensor(gpu, values[i] as Float32Array<ArrayBuffer>, shape, { requiresGrad: true })
      );
      const [x, weight, bias, residual] = inputs as [Tensor, Tensor, Tensor, Tensor];
      using runningMean = gpu.zeros([3], "running mean");
      using runningVar = gpu.zeros([3], "running variance");
      const running = { runningMean, runningVar };
      const norm = (x: Tensor, residual: Tensor) =>
        batchNorm(x, { weight, bias }, running, { training: true, relu: true, residual });
      const result = scope(() => {
        const y = wrap([x, residual], norm);
        backward(y, gpu.upload(start, y.shape, "gradient"));
        return y;
      });
      const gradients = inputs.map(({ grad }) => grad as GpuArray);
      const found = await gpu.readAll([result.array, runningMean, runningVar, ...gradients]);
      for (const made of [result, ...inputs]) made.dispose();
      return found;
    };
    const before = gpu.memory.live;
    const kept = await run((inputs, fn) => fn(...inputs));
    assertSame(await run(recompute), kept, "output, running statistics and gradients");
    assert.equal(gpu.memory.live, before, "bytes were left behind");
  });
}

Deno.test("a block inside a recomputed block is recomputed too", async () => {
  const gpu = await testGpu();
  const run = async (wrap: typeof recompute) => {
    let calls = 0;
    const block = (x: Tensor) => {
      const factor = once(() => ++calls);
      return wrap([x], (x) => mul(scale(x, factor), scale(x, once(() => ++calls))));
    };
    using x = tensor(gpu, [3, -2], [2], { requiresGrad: true });
    scope(() =>
      backward(wrap([x], (x) => relu(block(x))), gpu.upload(Float32Array.of(1, 1), [2], "g"))
    );
    assert.equal(calls, 2, "side effects happen once");
    return await x.grad?.read();
  };
  const before = gpu.memory.live;
  const plain = await run((inputs, fn) => fn(...inputs));
  assert.deepEqual(plain, Float32Array.of(12, -8));
  assert.deepEqual(await run(recompute), plain);
  assert.equal(gpu.memory.live, before, "bytes were left behind");
});

Deno.test("a recomputed block records nothing where no gradient leads", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [1, 2], [2]);
  using weight = tensor(gpu, [3, 4], [2], { requiresGrad: true });
  scope(() => {
    assert.equal(recompute([x], (x) => scale(x, 2)).node, undefined);
    assert.equal(noGrad(() => recompute([x], (x) => mul(x, weight))).node, undefined);
    assert.equal(recompute([x], (x) => x), x);
    const loss = recompute([x], (x) => mul(x, weight)); // the gradient leads inside only
    backward(loss, gpu.upload(Float32Array.of(1, 1), [2], "gradient"));
  });
  assert.deepEqual(await weight.grad?.read(), Float32Array.of(1, 2));
  assert.equal(x.grad, null);
});

Deno.test("activations go one after the other as the backward passes", async () => {
  const gpu = await testGpu();
  const size = 4096;
  using x = tensor(gpu, new Float32Array(size).fill(1), [size], { requiresGrad: true });
  const held: number[] = [];
  const probe = (x: Tensor): Tensor =>
    record("probe", x.array.retain(), [x], [], (gradOutput) => {
      held.push(gpu.memory.live);
      return [gradOutput.retain()];
    });
  const before = gpu.memory.live;
  scope(() => {
    let value: Tensor = x;
    for (let block = 0; block < 8; block++) {
      using half = scale(value, 0.5);
      using output = addRelu(half, value); // keeps its output for the backward
      if (value !== x) value.dispose();
      value = probe(output);
    }
    backward(value, gpu.upload(new Float32Array(size), [size], "gradient"));
  });
  assert.equal(held.length, 8);
  // The caller still holds the last output, which the first gradient leaves alone.
  const gone = held.slice(2).map((bytes, index) => (held[index + 1] as number) - bytes);
  assert.ok(gone.every((bytes) => bytes >= size * 4), `each block frees its output: ${gone}`);
  assert.ok((held.at(-1) as number) - before <= 4 * size * 4 * 1.25, "little is left at the end");
});

for (const pass of ["first", "second"] as const) {
  Deno.test(`recompute() refuses a block that is async in its ${pass} run, and frees everything`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    {
      using x = tensor(gpu, [2], [], { requiresGrad: true });
      let runs = 0;
      const block = (x: Tensor): Tensor => {
        using noted = once(() => gpu.upload(Float32Array.of(3), [], "noted"));
        assert.equal(noted.size, 1);
        const output = scale(x, 2);
        if (++runs < (pass === "first" ? 1 : 2)) return output;
        return Promise.resolve(output) as unknown as Tensor;
      };
      const expected =
        "TypeError: Cannot run recompute on a function that returns a promise as the " +
        "backward would not wait for it";
      scope(() => {
        const run = () => backward(recompute([x], block));
        assert.throws(run, new RegExp(`^${expected}`));
        assert.equal(once(() => 7), 7, "no notes are open");
        assert.notEqual(scale(x, 2).node, undefined, "operations are recorded again");
        assert.throws(
          () => noGrad(() => recompute([x], () => block(x))),
          new RegExp(`^${expected}`),
        );
      });
      assert.equal(runs, pass === "first" ? 2 : 3);
    }
    await gpu.finish();
    assert.equal(gpu.memory.live, before, "bytes were left behind");
  });
}

Deno.test("once() refuses what is async", () => {
  const make = (() => Promise.resolve(1)) as unknown as () => number;
  assert.throws(
    () => once(make),
    /^TypeError: Cannot run once on a function that returns a promise as a second run would not wait/,
  );
});
