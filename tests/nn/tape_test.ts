import { strict as assert } from "node:assert";
import { mulForward, scaleForward } from "../../kernels/elementwise.ts";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { backward, detach, noGrad, record, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";

// Two operations of the smallest kind, so that the tape is tested apart from real ones.

function times(x: Tensor, factor: number): Tensor {
  return record("times", scaleForward(x.array, factor), [x], [], (gradOutput) => [
    scaleForward(gradOutput, factor),
  ]);
}

function multiply(a: Tensor, b: Tensor): Tensor {
  const saved = [a.array, b.array];
  return record("multiply", mulForward(a.array, b.array), [a, b], saved, (gradOutput, needs) => [
    needs[0] ? mulForward(gradOutput, b.array) : null,
    needs[1] ? mulForward(gradOutput, a.array) : null,
  ]);
}

function identityTwice(a: Tensor, b: Tensor): Tensor {
  return record("identityTwice", a.array.retain(), [a, b], [], (gradOutput) => [
    gradOutput.retain(),
    gradOutput.retain(),
  ]);
}

function leaf(gpu: Gpu, value: number): Tensor {
  return tensor(gpu, [value], [], { requiresGrad: true });
}

async function withoutLeak(fn: (gpu: Gpu) => Promise<void>): Promise<void> {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  await fn(gpu);
  assert.equal(gpu.memory.live, before, "bytes were left behind");
}

async function gradient(tensor: Tensor): Promise<number | undefined> {
  return (await tensor.grad?.read())?.[0];
}

Deno.test("gradients of a tensor that is used twice are summed", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    scope(() => backward(multiply(times(x, 2), multiply(x, x)))); // 2x · x²
    assert.equal(await gradient(x), 6 * 9);
  }));

Deno.test("an array that two inputs share as their gradient is not summed in place", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using y = leaf(gpu, 5);
    scope(() => backward(multiply(identityTwice(x, y), x))); // x², whose first factor passes y too
    assert.equal(await gradient(x), 6);
    assert.equal(await gradient(y), 3);
  }));

Deno.test("several backward calls accumulate until the gradient is cleared", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    for (let i = 0; i < 3; i++) scope(() => backward(times(x, 2)));
    assert.equal(await gradient(x), 6);
    x.zeroGrad();
    assert.equal(x.grad, null);
    scope(() => backward(times(x, 2)));
    assert.equal(await gradient(x), 2);
  }));

Deno.test("tensors without requiresGrad get none and cost no backward", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using constant = tensor(gpu, [4], []);
    scope(() => backward(multiply(x, times(constant, 2))));
    assert.equal(await gradient(x), 8);
    assert.equal(constant.grad, null);
  }));

Deno.test("a scope keeps what it returns and frees the rest", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    const result = scope(() => {
      const inner = scope(() => ({ first: times(x, 2), unused: [times(x, 3)] }));
      times(x, 4);
      return inner.first;
    });
    assert.deepEqual(await result.read(), new Float32Array([6]));
    result.dispose();
  }));

Deno.test("a scope frees its tensors when it throws", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    assert.throws(
      () =>
        scope(() => {
          scope(() => times(times(x, 2), 2));
          throw new Error("stop");
        }),
      /stop/,
    );
    await gpu.finish();
  }));

Deno.test("noGrad() and detach() stop gradients", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    scope(() => {
      assert.equal(noGrad(() => times(x, 2)).node, undefined);
      backward(multiply(x, detach(times(x, 5))));
    });
    assert.equal(await gradient(x), 15);
  }));

Deno.test("backward frees activations on the way", () =>
  withoutLeak(async (gpu) => {
    using x = tensor(gpu, new Float32Array(1000).fill(1), [1000], { requiresGrad: true });
    scope(() => {
      const output = scope(() => multiply(multiply(times(x, 2), x), x));
      const held = gpu.memory.live;
      backward(output, gpu.upload(new Float32Array(1000).fill(1), [1000], "ones"));
      assert.ok(gpu.memory.live < held + 4000, `${gpu.memory.live} bytes after, ${held} before`);
    });
    assert.equal((await x.grad?.read())?.[999], 6);
  }));

Deno.test("backward says what is wrong with its start", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using vector = tensor(gpu, [1, 2], [2], { requiresGrad: true });
    using constant = tensor(gpu, [4], []);
    scope(() => {
      assert.throws(() => backward(times(vector, 2)), /shape \[2\]: it must be a scalar/);
      assert.throws(() => backward(times(constant, 2)), /depends on no tensor that requires/);
      const used = times(x, 2);
      backward(used);
      assert.throws(() => backward(used), /backward through times as its saved arrays were freed/);
    });
    const late = scope(() => times(x, 2));
    assert.throws(() => backward(late), /call backward once, inside the scope/);
    late.dispose();
    await gpu.finish();
  }));

Deno.test("a backward that returns a gradient of the wrong shape is caught", () =>
  withoutLeak(async (gpu) => {
    using x = tensor(gpu, [1, 2], [2], { requiresGrad: true });
    const wrong = (x: Tensor): Tensor =>
      record("wrong", x.gpu.zeros([], "sum"), [x], [], () => [x.gpu.zeros([3], "gradient")]);
    assert.throws(
      () => scope(() => backward(wrong(x))),
      /through wrong as its gradient of input 0 has shape \[3\], and the input \[2\]/,
    );
    await gpu.finish();
  }));
