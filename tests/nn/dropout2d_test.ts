import { strict as assert } from "node:assert";
import { dropoutFactors } from "../../kernels/dropout2d.ts";
import { dropout2d } from "../../nn/functional/dropout2d.ts";
import { tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp } from "../_check.ts";
import { testGpu } from "../_device.ts";
import { mulChannels } from "../_reference/elementwise.ts";
import { philox } from "../_reference/philox.ts";

function expectedFactors(
  count: number,
  { rate, seed, step, layer }: { rate: number; seed: number; step: number; layer: number },
): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    const [word] = philox([i, layer, 0, 0], [seed, step]);
    return word < rate * 2 ** 32 ? 0 : 1 / (1 - rate);
  });
}

Deno.test("the reference generator gives the published block of key zero", () => {
  const words = philox([0, 0, 0, 0], [0, 0]).map((word) => word.toString(16));
  assert.deepEqual(words, ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]);
});

Deno.test("the kernel's first word of key zero is the published one, to the bit", async () => {
  const gpu = await testGpu();
  const word = 0x6627e8d5;
  for (const [rate, dropped] of [[word / 2 ** 32, false], [(word + 1) / 2 ** 32, true]] as const) {
    using factors = dropoutFactors(gpu, [1, 1], { rate, seed: 0, step: 0, layer: 0 });
    assert.equal((await factors.read())[0] === 0, dropped);
  }
});

Deno.test("the kernel's factors are those of the reference generator", async () => {
  const gpu = await testGpu();
  for (
    const options of [
      { rate: 0.5, seed: 1, step: 2, layer: 3 },
      { rate: 0.1, seed: 0xffffffff, step: 62411, layer: 0 },
      { rate: 0.9, seed: 0x9e3779b9, step: 0xfffffffe, layer: 0xffff0001 },
    ]
  ) {
    using factors = dropoutFactors(gpu, [7, 300], options);
    assertAllClose("factors", await factors.read(), expectedFactors(2100, options));
  }
});

Deno.test("dropout and its gradient use the same factors", () => {
  const options = { rate: 0.4, seed: 5, step: 6, layer: 7 };
  const factors = { data: expectedFactors(15, options), shape: [3, 5] };
  return checkOp((x) => dropout2d(x, options), (x) => mulChannels(x, factors), {
    shapes: [[3, 5, 7, 9]],
  });
});

Deno.test("dropout drops its share of the channels and keeps the mean", async () => {
  const gpu = await testGpu();
  using factors = dropoutFactors(gpu, [64, 256], { rate: 0.1, seed: 3, step: 1, layer: 0 });
  const values = await factors.read();
  const dropped = values.filter((value) => value === 0).length / values.length;
  assert.ok(Math.abs(dropped - 0.1) < 0.01, `${dropped} of the channels were dropped`);
});

Deno.test("steps and layers drop different channels", async () => {
  const gpu = await testGpu();
  const seen = new Set<string>();
  for (const [step, layer] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
    using factors = dropoutFactors(gpu, [2, 64], { rate: 0.5, seed: 9, step, layer });
    seen.add((await factors.read()).join());
  }
  assert.equal(seen.size, 4);
});

Deno.test("a rate of 1 and a counter that is no 32-bit integer are refused", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [1, 2], [1, 2]);
  const options = { rate: 0.5, seed: 0, step: 0, layer: 0 };
  assert.throws(() => dropout2d(x, { ...options, rate: 1 }), /its rate 1 is not in \[0, 1\)/);
  assert.throws(() => dropout2d(x, { ...options, seed: 2 ** 32 }), /its seed 4294967296/);
});
