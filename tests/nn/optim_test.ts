import { strict as assert } from "node:assert";
import { gatherRows } from "../../kernels/peers.ts";
import { type Gpu, GpuArray, openGpu } from "../../kernels/runtime/mod.ts";
import { conv2d } from "../../nn/functional/conv2d.ts";
import { linear } from "../../nn/functional/linear.ts";
import { globalAveragePool } from "../../nn/functional/spatial.ts";
import { updateEma } from "../../nn/ema.ts";
import { Module } from "../../nn/module.ts";
import { Adam, type ParameterGroup, Sgd } from "../../nn/optim.ts";
import { polynomial } from "../../nn/schedule.ts";
import { backward, input, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { assertAllClose, seededRandom } from "../_check.ts";
import { KERNEL_CLASSES, narrowGpu, testGpu } from "../_device.ts";

const SIZE = 1237; // no multiple of a run of elements, and more than one workgroup
const STEPS = 5;

/** The gradient that every test feeds at a step. */
function gradient(step: number): Float32Array {
  const random = seededRandom(100 + step);
  return Float32Array.from({ length: SIZE }, () => 2 * random() - 1);
}

function start(): Float32Array {
  const random = seededRandom(99);
  return Float32Array.from({ length: SIZE }, () => 2 * random() - 1);
}

function setGradient(parameter: Tensor, values: Float32Array): void {
  parameter.zeroGrad();
  parameter.grad = parameter.gpu.upload(values, parameter.shape, "gradient");
}

type Optimiser = Pick<Sgd, "step" | "dispose">;

/** Runs STEPS steps at a falling rate and returns the parameter. */
async function descend(
  make: (groups: ParameterGroup[]) => Optimiser,
  narrow = false,
): Promise<Float32Array> {
  const gpu = narrow ? await narrowGpu(1024) : await testGpu();
  using parameter = tensor(gpu, start(), [SIZE], { requiresGrad: true });
  const optimiser = make([{
    parameters: new Map([["weight", parameter]]),
    learningRateFactor: 2,
  }]);
  for (let step = 0; step < STEPS; step++) {
    setGradient(parameter, gradient(step));
    optimiser.step(0.05 / (step + 1));
  }
  optimiser.dispose();
  return await parameter.read();
}

/** One weight's path under `update`, which returns the change, in doubles. */
function expected(update: () => (grad: number, weight: number, rate: number) => number): number[] {
  const gradients = Array.from({ length: STEPS }, (_, step) => gradient(step));
  return [...start()].map((weight, i) => {
    const change = update();
    for (let step = 0; step < STEPS; step++) {
      weight += change(gradients[step][i], weight, 0.1 / (step + 1));
    }
    return weight;
  });
}

Deno.test("SGD with momentum and weight decay follows PyTorch's formula", async () => {
  // PyTorch's own words: the first step sets the buffer to the gradient.
  const reference = expected(() => {
    let buffer: number | undefined;
    return (grad, weight, rate) => {
      const g = grad + 0.01 * weight;
      buffer = buffer === undefined ? g : 0.9 * buffer + g;
      return -rate * buffer;
    };
  });
  const make = (groups: ParameterGroup[]) => new Sgd(groups, { momentum: 0.9, weightDecay: 0.01 });
  assertAllClose("weight", await descend(make), reference);
  assertAllClose("weight in slices", await descend(make, true), reference);
});

Deno.test("SGD without momentum is plain descent", async () => {
  const reference = expected(() => (grad, _, rate) => -rate * grad);
  assertAllClose("weight", await descend((groups) => new Sgd(groups)), reference);
});

Deno.test("Adam corrects its bias and follows PyTorch's formula", async () => {
  for (const betas of [[0.9, 0.99], [0.9, 0.999]] as const) {
    const reference = expected(() => {
      let [first, second, t] = [0, 0, 0];
      return (grad, weight, rate) => {
        const g = grad + 0.01 * weight;
        t++;
        first = betas[0] * first + (1 - betas[0]) * g;
        second = betas[1] * second + (1 - betas[1]) * g * g;
        const root = Math.sqrt(second) / Math.sqrt(1 - betas[1] ** t) + 1e-3;
        return -rate / (1 - betas[0] ** t) * first / root;
      };
    });
    const options = { betas, eps: 1e-3, weightDecay: 0.01 };
    const make = (groups: ParameterGroup[]) => new Adam(groups, options);
    assertAllClose("weight", await descend(make), reference, { atol: 3e-6, rtol: 1e-5 });
    assertAllClose("weight in slices", await descend(make, true), reference, { atol: 3e-6 });
  }
});

for (
  const [name, make] of [
    ["SGD", (groups: ParameterGroup[]) => new Sgd(groups, { momentum: 0.9 })],
    ["Adam", (groups: ParameterGroup[]) => new Adam(groups)],
  ] as const
) {
  Deno.test(`${name} goes on to the same bits from a loaded state`, async () => {
    const gpu = await testGpu();
    using parameter = tensor(gpu, start(), [SIZE]);
    using copy = tensor(gpu, start(), [SIZE]);
    using optimiser = make([{ parameters: new Map([["weight", parameter]]) }]);
    using resumed = make([{ parameters: new Map([["weight", copy]]) }]);
    const step = (optimiser: Optimiser, parameter: Tensor, number: number) => {
      setGradient(parameter, gradient(number));
      optimiser.step(0.1);
    };
    step(optimiser, parameter, 0);
    step(optimiser, parameter, 1);
    gpu.copy(parameter.array, copy.array);
    const saved = optimiser.state();
    for (const [name, array] of resumed.state()) gpu.copy(saved.get(name) as GpuArray, array);
    step(optimiser, parameter, 2);
    step(resumed, copy, 2);
    assert.deepEqual(await copy.read(), await parameter.read());
  });

  Deno.test(`${name} refuses a parameter given twice`, async () => {
    const gpu = await testGpu();
    using parameter = tensor(gpu, start(), [SIZE]);
    const groups = ["a", "b"].map((name) => ({ parameters: new Map([[name, parameter]]) }));
    assert.throws(() => make(groups), /the parameter "b" occurs in it twice/);
  });
}

Deno.test("gradients of peers are added up as gradients, all else exactly", async () => {
  const added: [string, number][] = [];
  const note = (what: string) => (numbers: Float32Array) => {
    added.push([what, numbers.length]);
    numbers.forEach((value, at) => numbers[at] = 2 * value); // the other peer has the same
    return Promise.resolve();
  };
  const peers = { rank: 0, size: 2, sum: note("numbers"), sumGradients: note("gradients") };
  for (const { sumGradients, ...without } of [peers, { ...peers, sumGradients: undefined }]) {
    const given = sumGradients ? peers : without;
    using gpu = await openGpu({ peers: given });
    for (const make of [Sgd, Adam]) {
      const weight = tensor(gpu, Float32Array.of(1, 2, 3), [3]);
      using optimiser = new make([{ parameters: new Map([["weight", weight]]) }]);
      setGradient(weight, Float32Array.of(1, -2, 4));
      optimiser.step(0.5);
      const [found] = await gpu.readAll([weight.array]);
      if (make === Sgd) assert.deepEqual([...found!], [0, 4, -1]);
    }
    using x = gpu.upload(Float32Array.of(1, 2), [1, 2], "x");
    gatherRows(x).release();
    await gpu.finish();
    const what = sumGradients ? "gradients" : "numbers";
    assert.deepEqual(added.splice(0), [[what, 64], [what, 64], ["numbers", 4]]);
  }
});

Deno.test("a parameter without a gradient stays, and zeroGrad drops gradients", async () => {
  const gpu = await testGpu();
  using parameter = tensor(gpu, [1, 2, 3], [3]);
  using optimiser = new Sgd([{ parameters: new Map([["weight", parameter]]) }], {
    weightDecay: 0.5,
  });
  optimiser.step(1);
  assert.deepEqual([...await parameter.read()], [1, 2, 3]);
  setGradient(parameter, new Float32Array(3));
  optimiser.zeroGrad();
  assert.equal(parameter.grad, null);
});

/** Parameters of odd sizes, joined in one buffer or apart. */
class Three extends Module {
  constructor(gpu: Gpu, offset: number, joined: boolean) {
    super();
    for (const size of [3, 70, 64]) {
      const values = Float32Array.from({ length: size }, (_, i) => Math.sin(i + size + offset));
      this.parameter(`weight${size}`, tensor(gpu, values, [size], { requiresGrad: true }));
    }
    if (joined) this.joinParameters();
  }
}

Deno.test("parameters in one buffer come to the same bits as apart, in fewer dispatches", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const results: number[][][] = [];
  const dispatches: number[] = [];
  for (const joined of [false, true]) {
    using network = new Three(gpu, 0, joined);
    using encoder = new Three(gpu, 1, joined);
    const parameters = network.namedParameters();
    using optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 0.01 });
    const started = gpu.queue.dispatches;
    for (let step = 0; step < 3; step++) {
      for (const weight of parameters.values()) {
        const values = Float32Array.from(
          { length: weight.array.size },
          (_, i) => Math.cos(i * step),
        );
        setGradient(weight, values);
      }
      optimiser.step(0.1);
      updateEma(encoder, network, 0.9);
    }
    dispatches.push(gpu.queue.dispatches - started);
    const arrays = [network, encoder].flatMap((module) => [...module.stateDict().values()]);
    const read = await gpu.readAll([...arrays, ...optimiser.state().values()]);
    results.push(read.map((values) => [...values]));
  }
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(dispatches, [18, 6]);
  assert.equal(gpu.memory.live, before);
});

/** A convolution, a mean over its planes and an affine map to one number, in one buffer. */
class Small extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly matrix: Tensor;

  constructor(gpu: Gpu) {
    super();
    const parameter = (name: string, shape: number[]) => {
      const values = Float32Array.from(
        { length: shape.reduce((a, b) => a * b) },
        (_, i) => Math.sin(i + shape.length),
      );
      return this.parameter(name, tensor(gpu, values, shape, { requiresGrad: true }));
    };
    this.weight = parameter("weight", [5, 3, 3, 3]);
    this.bias = parameter("bias", [5]);
    this.matrix = parameter("matrix", [1, 5]);
    this.joinParameters();
  }

  /** Adds the gradients of images of their own; without a bias, that gets none. */
  learn(gpu: Gpu, seed: number, withBias = true): void {
    const values = Float32Array.from({ length: 2 * 3 * 7 * 6 }, seededRandom(seed));
    using images = gpu.upload(values, [2, 3, 7, 6], "images");
    scope(() => {
      const maps = conv2d(input(images), this.weight, withBias ? this.bias : null, { stride: 2 });
      const output = linear(globalAveragePool(maps), this.matrix);
      backward(output, gpu.upload(new Float32Array([1, 2]), [2, 1], "gradient of the output"));
    });
  }

  /** All gradients, null where there is none. */
  async gradients(): Promise<(number[] | null)[]> {
    const { weight, bias, matrix } = this;
    return await Promise.all(
      [weight, bias, matrix].map(async ({ grad }) => grad && [...await grad.read()]),
    );
  }
}

/** Runs `fn` and counts the copies between arrays on the way. */
function copiesOf(gpu: Gpu, fn: () => void): number {
  const { copy } = gpu;
  let copies = 0;
  gpu.copy = (from, to) => {
    copies++;
    copy.call(gpu, from, to);
  };
  fn();
  gpu.copy = copy;
  return copies;
}

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`gradients lie side by side for the optimiser, without a copy (${kernels})`, async () => {
    const gpu = await testGpu(kernels);
    const before = gpu.memory.live;
    {
      using alone = new Small(gpu);
      using network = new Small(gpu);
      using optimiser = new Sgd([{ parameters: network.namedParameters() }], { momentum: 0.9 });
      for (const seed of [1, 2, 3]) {
        const copies = copiesOf(gpu, () => {
          for (const part of [0, 1]) network.learn(gpu, 2 * seed + part);
        });
        assert.equal(copies, 0);
        for (const part of [0, 1]) alone.learn(gpu, 2 * seed + part);
        assert.deepEqual(await network.gradients(), await alone.gradients());
        const gradients = [network.weight, network.bias, network.matrix].map(({ grad }) => grad);
        using together = GpuArray.spanning(gradients as GpuArray[]);
        assert.ok(together);
        const started = gpu.queue.dispatches;
        assert.equal(copiesOf(gpu, () => optimiser.step(0.1)), 0);
        assert.equal(gpu.queue.dispatches, started + 1);
        optimiser.zeroGrad();
        alone.zeroGrad();
        for (const name of ["weight", "bias", "matrix"] as const) {
          gpu.copy(network[name].array, alone[name].array);
        }
      }
      assert.deepEqual(await network.gradients(), [null, null, null]);
    }
    assert.equal(gpu.memory.live, before);
  });
}

Deno.test("a parameter of a joined group without a gradient stays, and the others are stepped", async () => {
  const gpu = await testGpu();
  const results: number[][][] = [];
  const dispatches: number[] = [];
  for (const joined of [false, true]) {
    using network = new Three(gpu, 0, joined);
    const parameters = network.namedParameters();
    using optimiser = new Sgd([{ parameters }], { momentum: 0.9, weightDecay: 0.01 });
    const started = gpu.queue.dispatches;
    for (const missing of ["none", "weight3", "weight70", "weight64"]) {
      for (const [name, weight] of parameters) {
        if (name !== missing) setGradient(weight, new Float32Array(weight.array.size).fill(0.5));
      }
      optimiser.step(0.1);
      optimiser.zeroGrad();
    }
    dispatches.push(gpu.queue.dispatches - started);
    const arrays = [...network.stateDict().values(), ...optimiser.state().values()];
    results.push((await gpu.readAll(arrays)).map((values) => [...values]));
  }
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(dispatches, [9, 5]);
});

Deno.test("the polynomial schedule falls from 1 to 0 and stays there", () => {
  assert.equal(polynomial(0, 100), 1);
  assert.ok(Math.abs(polynomial(25, 100, 2) - 0.5625) < 1e-12);
  assert.ok(Math.abs(polynomial(62412, 90000) - 0.3450086) < 1e-6);
  assert.equal(polynomial(100, 100), 0);
  assert.equal(polynomial(130, 100), 0);
});

/** One parameter and one buffer. */
class Pair extends Module {
  readonly weight: Tensor;
  readonly statistic: GpuArray;

  constructor(weight: Tensor, statistic: GpuArray) {
    super();
    this.weight = this.parameter("weight", weight);
    this.statistic = this.buffer("statistic", statistic);
  }
}

Deno.test("the momentum encoder moves its parameters slowly and copies buffers", async () => {
  const gpu = await testGpu();
  const pair = (weight: number, statistic: number) =>
    new Pair(
      tensor(gpu, [weight, 2 * weight, -1], [3]),
      gpu.upload(new Float32Array([statistic]), [1], "statistic"),
    );
  using encoder = pair(1, 5);
  using network = pair(2, 7);
  updateEma(encoder, network, 0.999);
  assertAllClose("weight", await encoder.weight.read(), [1.001, 2.002, -1], { atol: 1e-7 });
  assert.deepEqual([...await encoder.statistic.read()], [7]);
  assert.deepEqual([...await network.weight.read()], [2, 4, -1]);
  assert.throws(() => updateEma(encoder, network, 1.5), RangeError);
});
