import { strict as assert } from "node:assert";
import type { Accumulator } from "../../kernels/accumulator.ts";
import { addInPlace, mulForward, scaleForward } from "../../kernels/elementwise.ts";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { backward, detach, input, noGrad, record, scope, withRecording } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";

// Two operations of the smallest kind, so that the tape is tested apart from real ones.

function times(x: Tensor, factor: number): Tensor {
  return record("times", scaleForward(x.array, factor), [x], [], (gradOutput) => [
    scaleForward(gradOutput, factor),
  ]);
}

/** {@link times}, whose backward itself writes or adds where it is told. */
function timesInto(x: Tensor, factor: number, seen: (boolean | Accumulator)[] = []): Tensor {
  const output = scaleForward(x.array, factor);
  return record("timesInto", output, [x], [], (gradOutput, _, [into = false]) => {
    seen.push(into);
    const product = scaleForward(gradOutput, factor);
    if (typeof into !== "object") return [product];
    if (into.accumulate) addInPlace(into.array, product);
    else into.array.gpu.copy(product, into.array);
    product.release();
    return [into.array.retain()];
  });
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

Deno.test("gradients are summed in the place that a parameter has for them", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using place = gpu.upload(new Float32Array([99]), [], "place");
    x.gradPlace = place;
    const losses: [loss: () => Tensor, gradient: number][] = [
      [() => timesInto(x, 2), 2],
      [() => times(x, 2), 2],
      [() => multiply(x, x), 6],
      [() => multiply(timesInto(x, 2), times(x, 5)), 60],
      [() => multiply(times(x, 2), timesInto(x, 5)), 60],
      [() => identityTwice(x, x), 2],
    ];
    let sum = 0;
    for (const accumulated of [false, true]) {
      for (const [loss, expected] of losses) {
        scope(() => backward(loss()));
        sum += expected;
        assert.equal(x.grad, place);
        assert.equal(await gradient(x), accumulated ? sum : expected);
        if (!accumulated) x.zeroGrad();
      }
      sum = 0;
    }
    x.zeroGrad();
  }));

Deno.test("a gradient that was set from outside is added to where it is", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using place = gpu.upload(new Float32Array([99]), [], "place");
    x.gradPlace = place;
    x.grad = gpu.upload(new Float32Array([7]), [], "set from outside");
    scope(() => backward(timesInto(x, 2)));
    scope(() => backward(times(x, 2)));
    assert.equal(await gradient(x), 11);
    assert.deepEqual(await place.read(), new Float32Array([99]));
  }));

/** x y, where x and y may be one tensor; its backward adds to what it is given. */
function multiplyInto(a: Tensor, b: Tensor, seen: (boolean | Accumulator)[]): Tensor {
  const saved = [a.array, b.array];
  const output = mulForward(a.array, b.array);
  return record("multiplyInto", output, [a, b], saved, (gradOutput, _, into) => {
    seen.push(...into);
    return [b, a].map((other, index) => {
      const to = into[index];
      const product = mulForward(gradOutput, other.array);
      if (typeof to !== "object") return product;
      addInPlace(to.array, product);
      product.release();
      return to.array.retain();
    });
  });
}

const accumulates = (into: readonly (boolean | Accumulator)[]) =>
  into.map((to) => typeof to === "object" && to.accumulate);

Deno.test("an operation may add its gradient to an earlier one of the same tensor", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    const seen: (boolean | Accumulator)[] = [];
    scope(() => {
      const y = times(x, 2);
      // 6y · 5y · 7y, from the newest: the first gradient is a new array.
      const factors = [timesInto(y, 6, seen), timesInto(y, 5, seen), timesInto(y, 7, seen)];
      backward(factors.reduce(multiply));
    });
    assert.deepEqual(accumulates(seen), [false, true, true]);
    assert.equal(await gradient(x), 3 * 210 * 8 * 9); // of 210 (2x)³
    seen.length = 0;
    x.zeroGrad();
    scope(() => backward(multiply(timesInto(x, 2, seen), timesInto(x, 5, seen))));
    assert.deepEqual(accumulates(seen), [false, true], "a leaf without a place");
    assert.equal(await gradient(x), 60);
  }));

Deno.test("an operation that takes a tensor twice adds one of both gradients itself", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    const seen: (boolean | Accumulator)[] = [];
    scope(() => {
      const y = times(x, 2);
      const square = multiplyInto(y, y, seen);
      backward(multiply(square, times(y, 5))); // 5 (2x)³
    });
    assert.deepEqual(accumulates(seen), [true, false]);
    assert.equal(await gradient(x), 3 * 40 * 9);
  }));

Deno.test("a gradient that two tensors share is not added to", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using z = leaf(gpu, 5);
    const seen: (boolean | Accumulator)[] = [];
    scope(() => {
      const [y, other] = [times(x, 2), times(z, 7)];
      const factor = timesInto(y, 4, seen);
      backward(multiply(identityTwice(y, other), factor)); // 4 (2x)², whose first factor passes z too
    });
    assert.deepEqual(seen, [true]);
    assert.equal(await gradient(x), 2 * 16 * 3);
    assert.equal(await gradient(z), 7 * 24);
  }));

Deno.test("a shared gradient of one tensor that is taken twice counts twice", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    scope(() => {
      const y = times(x, 2);
      backward(identityTwice(y, y));
    });
    assert.equal(await gradient(x), 4);
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

Deno.test("a scope refuses an async function and frees its tensors", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    const later: Tensor[] = [];
    const run = async (): Promise<Tensor> => {
      later.push(multiply(times(x, 2), x));
      await gpu.finish();
      throw new Error("nobody waits for this");
    };
    // @ts-expect-error The compiler refuses it too.
    assert.throws(() => scope(run), {
      name: "TypeError",
      message:
        "Cannot run scope on a function that returns a promise as its tensors would be freed " +
        "while it still runs: give it one that is not async, and await before or after it",
    });
    assert.equal(later[0]?.disposed, true);
    assert.throws(() => scope(() => backward(later[0] as Tensor)), /saved arrays were freed/);
    // An outer scope is the current one again.
    const outer = scope(() => {
      // @ts-expect-error As above.
      assert.throws(() => scope(run), TypeError);
      return times(x, 5);
    });
    assert.deepEqual(await outer.read(), new Float32Array([15]));
    outer.dispose();
    await gpu.finish();
  }));

for (const on of [false, true]) {
  const name = on ? "withRecording" : "noGrad";
  Deno.test(`${name}() refuses an async function and records as before`, () =>
    withoutLeak(async (gpu) => {
      using x = leaf(gpu, 3);
      const run = (fn: () => Promise<void>) => {
        // @ts-expect-error The compiler refuses it too.
        return on ? withRecording(true, fn) : noGrad(fn);
      };
      let before: boolean | undefined;
      let after: boolean | undefined;
      const records = () => scope(() => times(x, 2).node !== undefined);
      withRecording(!on, () => {
        const expected = `${name} on a function that returns a promise as what follows its first ` +
          `await would ${on ? "not " : ""}be recorded`;
        assert.throws(
          () =>
            run(async () => {
              before = records();
              await gpu.finish();
              after = records();
            }),
          new RegExp(`^TypeError: Cannot run ${expected}`),
        );
        assert.equal(records(), !on);
      });
      await gpu.finish();
      assert.deepEqual([before, after], [on, true], "which is why it is refused");
    }));
}

Deno.test("whatever has a then is refused, and nothing else", () => {
  const thenable = { then: () => {} } as unknown as PromiseLike<void>;
  // @ts-expect-error The compiler refuses it too.
  assert.throws(() => noGrad(() => thenable), TypeError);
  for (const value of [null, undefined, 0, "then", { then: 1 }, () => {}]) {
    assert.equal(scope(() => noGrad(() => value)), value);
  }
});

Deno.test("input() leaves the array to the caller and the tensor to the scope", () =>
  withoutLeak(async (gpu) => {
    using x = leaf(gpu, 3);
    using array = gpu.upload(new Float32Array([4]), [], "array");
    scope(() => {
      const constant = input(array);
      assert.equal(constant.requiresGrad, false);
      backward(multiply(x, constant));
    });
    assert.equal(await gradient(x), 4);
    assert.deepEqual(await array.read(), new Float32Array([4]));
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
