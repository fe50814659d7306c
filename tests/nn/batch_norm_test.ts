import { strict as assert } from "node:assert";
import { type GpuArray, planningGpu } from "../../kernels/runtime/mod.ts";
import { batchNorm } from "../../nn/functional/batch_norm.ts";
import { add as sum, scale } from "../../nn/functional/elementwise.ts";
import { backward, scope } from "../../nn/tape.ts";
import { Tensor, tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp, type Nd, randomNd, seededRandom } from "../_check.ts";
import { KERNEL_CLASSES, type Kernels, testGpu } from "../_device.ts";
import * as reference from "../_reference/norm.ts";
import { map, zip } from "../_reference/elementwise.ts";

const EPS = 1e-5;

interface Statistics {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** The operation on x, weight, bias and maybe a residual, with running statistics of its own. */
function withStatistics(
  { mean, variance }: Statistics,
  options: { training: boolean; relu?: boolean },
): (x: Tensor, weight: Tensor, bias: Tensor, residual?: Tensor) => Tensor {
  return (x, weight, bias, residual) => {
    const runningMean = x.gpu.upload(mean, [mean.length], "running mean");
    const runningVar = x.gpu.upload(variance, [variance.length], "running variance");
    const running = { runningMean, runningVar };
    const y = batchNorm(x, { weight, bias }, running, { ...options, residual: residual ?? null });
    runningMean.release();
    runningVar.release();
    return y;
  };
}

function fresh(channels: number): Statistics {
  return { mean: new Float32Array(channels), variance: new Float32Array(channels).fill(1) };
}

const relu = map((x) => Math.max(0, x));
const add = zip((a, b) => a + b);

/** 2.5 y, of several uses of y, whose gradients are arrays of their own, or one that is shared. */
const SEVERAL_USES: Readonly<Record<string, (y: Tensor) => Tensor>> = {
  two: (y) => sum(scale(y, 2), scale(y, 0.5)),
  three: (y) => sum(sum(scale(y, 2), scale(y, 1.5)), scale(y, -1)),
  "two shared": (y) => scale(sum(y, y), 1.25),
};

/** Planes of few and many elements for a workgroup, and many images of single values. */
const SHAPES = [[3, 5, 7, 9], [2, 3, 17, 33], [5, 2, 1, 1], [300, 2, 1, 1], [2, 1, 39, 53]];

for (const kernels of KERNEL_CLASSES) {
  for (const shape of SHAPES) {
    const [, channels = 0] = shape;
    const shapes = [shape, [channels], [channels]];
    // Two numbers for each of 300 images are more than the narrow device binds.
    const narrow = shape[0] === 300 ? 0 : 512;
    const options = { shapes, gradAtol: 3e-4, gradRtol: 3e-4, narrow, kernels };

    Deno.test(`batch norm of ${shape} by its batch matches its reference, ${kernels}`, () =>
      checkOp(
        withStatistics(fresh(channels), { training: true }),
        (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
        options,
      ));

    Deno.test(`batch norm of ${shape} by running statistics matches its reference, ${kernels}`, () => {
      const mean = Float32Array.from({ length: channels }, (_, c) => 0.25 * c - 0.5);
      const variance = Float32Array.from({ length: channels }, (_, c) => 0.5 + c);
      return checkOp(
        withStatistics({ mean, variance }, { training: false }),
        (x, weight, bias) => reference.frozenBatchNorm(x, weight, bias, { mean, variance }, EPS),
        options,
      );
    });

    Deno.test(`batch norm of ${shape} adds a residual and passes its gradient on, ${kernels}`, () =>
      checkOp(
        withStatistics(fresh(channels), { training: true }),
        (x, weight, bias, residual) => add(reference.batchNorm(x, weight, bias, EPS), residual),
        { ...options, shapes: [...shapes, shape] },
      ));
  }

  Deno.test(`batch norm of a channel too large for one workgroup matches its reference, ${kernels}`, () =>
    checkOp(
      withStatistics(fresh(1), { training: true }),
      (x, weight, bias, residual) => add(reference.batchNorm(x, weight, bias, EPS), residual),
      {
        shapes: [[1, 1, 181, 187], [1], [1], [1, 1, 181, 187]],
        gradAtol: 3e-3, // those of weight and bias are sums of 33,847 numbers
        gradRtol: 1e-3,
        narrow: 0, // an image is one plane, which nothing splits
        kernels,
      },
    ));

  Deno.test(`batch norm with its ReLU matches batch norm, then ReLU, ${kernels}`, async () => {
    const shapes = [[2, 4, 6, 5], [4], [4]];
    const random = seededRandom(11);
    const weight = randomNd([4], random, [0.5, 1.5]);
    const bias = randomNd([4], random);
    const x = awayFromKink(randomNd([2, 4, 6, 5], random), weight, bias);
    const inputs = [x.data, weight.data, bias.data];
    const mean = new Float32Array([0.1, 0.2, 0, -0.1]);
    const variance = new Float32Array([0.3, 0.4, 0.5, 0.2]);
    await checkOp(
      withStatistics(fresh(4), { training: true, relu: true }),
      (x, weight, bias) => relu(reference.batchNorm(x, weight, bias, EPS)),
      { shapes, inputs, gradAtol: 3e-4, gradRtol: 3e-4, kernels },
    );
    await checkOp(
      withStatistics({ mean, variance }, { training: false, relu: true }),
      (x, weight, bias) =>
        relu(reference.frozenBatchNorm(x, weight, bias, { mean, variance }, EPS)),
      { shapes, inputs, kernels },
    );
  });

  for (const training of [true, false]) {
    const how = training ? "its batch" : "running statistics";
    Deno.test(`batch norm by ${how} with residual and ReLU matches all three, ${kernels}`, () => {
      const shape = [3, 2, 9, 7];
      const random = seededRandom(12);
      const [weight, bias] = [randomNd([2], random, [0.5, 1.5]), randomNd([2], random)];
      const x = randomNd(shape, random);
      const normalise = (x: Nd, weight: Nd, bias: Nd) =>
        training
          ? reference.batchNorm(x, weight, bias, EPS)
          : reference.frozenBatchNorm(x, weight, bias, fresh(2), EPS);
      // Every other sum is positive, and all are away from the kink.
      const residual = normalise(x, weight, bias).data
        .map((y, i) => Math.fround((i % 2 ? 0.3 : -0.3) * (1 + i % 5) - y));
      return checkOp(
        withStatistics(fresh(2), { training, relu: true }),
        (x, weight, bias, residual) => relu(add(normalise(x, weight, bias), residual)),
        {
          shapes: [shape, [2], [2], shape],
          inputs: [x.data, weight.data, bias.data, residual],
          gradAtol: 3e-4,
          gradRtol: 3e-4,
          kernels,
        },
      );
    });
  }

  Deno.test(`batch norm gives its residual alone a gradient, or none, ${kernels}`, async () => {
    const shape = [2, 3, 4, 5];
    for (const gradients of [[false, false, false, true], [true, true, true, false]]) {
      await checkOp(
        withStatistics(fresh(3), { training: true, relu: true }),
        (x, weight, bias, residual) =>
          relu(add(reference.batchNorm(x, weight, bias, EPS), residual)),
        { shapes: [shape, [3], [3], shape], gradients, gradAtol: 3e-4, gradRtol: 3e-4, kernels },
      );
    }
  });

  for (const [uses, run] of Object.entries(SEVERAL_USES)) {
    Deno.test(`gradients of ${uses} uses of a batch norm with residual and ReLU add up, ${kernels}`, () => {
      const shape = [2, 2, 9, 7];
      const random = seededRandom(13);
      const [weight, bias] = [randomNd([2], random, [0.5, 1.5]), randomNd([2], random)];
      const x = randomNd(shape, random);
      const residual = reference.batchNorm(x, weight, bias, EPS).data
        .map((y, i) => Math.fround((i % 2 ? 0.3 : -0.3) * (1 + i % 5) - y));
      const norm = withStatistics(fresh(2), { training: true, relu: true });
      return checkOp(
        (x, weight, bias, residual) => run(norm(x, weight, bias, residual)),
        (x, weight, bias, residual) =>
          map((y) => 2.5 * y)(relu(add(reference.batchNorm(x, weight, bias, EPS), residual))),
        {
          shapes: [shape, [2], [2], shape],
          inputs: [x.data, weight.data, bias.data, residual],
          gradAtol: 6e-4,
          gradRtol: 3e-4,
          kernels,
        },
      );
    });
  }

  Deno.test(`a gradient that something else holds is not overwritten, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const shape = [2, 2, 3, 5];
    const shapes = [shape, [2], [2], shape];
    const random = seededRandom(5);
    const draw = (shape: readonly number[]) => Float32Array.from(randomNd(shape, random).data);
    const values = shapes.map(draw);
    const start = draw(shape);
    const run = async (hold: boolean) => {
      const inputs = shapes.map((shape, i) =>
        tensor(gpu, values[i] as Float32Array, shape, { requiresGrad: true })
      );
      const [x, weight, bias, residual] = inputs as [Tensor, Tensor, Tensor, Tensor];
      const gradient = gpu.upload(start, shape, "gradient");
      if (hold) gradient.retain();
      scope(() => {
        const norm = withStatistics(fresh(2), { training: true, relu: true });
        backward(norm(x, weight, bias, residual), gradient);
      });
      if (hold) {
        assert.deepEqual(await gradient.read(), start, "the gradient that went in");
        gradient.release();
      }
      const gradients = await gpu.readAll(inputs.map(({ grad }) => grad as GpuArray));
      for (const input of inputs) input.dispose();
      return gradients as Float32Array[];
    };
    const before = gpu.memory.live;
    const [held, taken] = [await run(true), await run(false)];
    held.forEach((values, i) => assertAllClose(`gradient ${i}`, taken[i] as Float32Array, values));
    assert.equal(gpu.memory.live, before, "bytes are left behind");
  });

  Deno.test(`batch norm with residual and ReLU shows a NaN of either, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const shape = [1, 2, 3, 5];
    using ones = tensor(gpu, [1, 1], [2]);
    using numbers = tensor(gpu, Float32Array.from({ length: 30 }, (_, i) => i % 7 - 3), shape);
    for (const bits of [0x7fc00000, 0xffc00000]) {
      const values = new Float32Array(30);
      new Uint32Array(values.buffer)[17] = bits;
      using broken = tensor(gpu, values, shape);
      for (const training of [true, false]) {
        const norm = withStatistics(fresh(2), { training, relu: true });
        using added = norm(numbers, ones, ones, broken);
        using normalised = norm(broken, ones, ones, numbers);
        const places = async (y: Tensor) =>
          [...await y.read()].flatMap((value, i) => Number.isNaN(value) ? i : []);
        assert.deepEqual(await places(added), [17]);
        const channel = Array.from({ length: 15 }, (_, i) => 15 + i);
        assert.deepEqual(await places(normalised), training ? channel : [17]);
      }
    }
  });

  Deno.test(`gradients of a batch norm's parameters go where they are asked to, ${kernels}`, async () => {
    const gpu = await testGpu(kernels);
    const shape = [2, 3, 5, 7];
    const random = seededRandom(6);
    const draw = (shape: readonly number[]) => Float32Array.from(randomNd(shape, random).data);
    const [x, weight, bias] = [shape, [3], [3]].map((shape) =>
      tensor(gpu, draw(shape), shape, { requiresGrad: true })
    ) as [Tensor, Tensor, Tensor];
    const start = draw(shape);
    const pass = () =>
      scope(() => {
        const y = withStatistics(fresh(3), { training: true })(x, weight, bias);
        backward(y, gpu.upload(start, shape, "gradient"));
      });
    pass();
    const wanted = await gpu.readAll([weight.grad as GpuArray, bias.grad as GpuArray]);
    // Places of one buffer, as an optimiser has them.
    const row = gpu.offsetAlignment / 4;
    using all = gpu.upload(new Float32Array(2 * row).fill(7), [2 * row], "places");
    const places = [weight, bias].map((parameter, i) => {
      parameter.zeroGrad();
      return parameter.gradPlace = all.slice(i * row, 3);
    });
    for (const times of [1, 2, 3]) {
      pass();
      const found = await all.read();
      wanted.forEach((gradient, i) => {
        const expected = Array.from(gradient, (value) => times * value);
        const name = `gradient ${i} after ${times} passes`;
        assertAllClose(name, found.slice(i * row, i * row + 3), expected);
        assert.ok(found.slice(i * row + 3, (i + 1) * row).every((value) => value === 7), name);
      });
    }
    for (const parameter of [x, weight, bias]) parameter.dispose();
    for (const place of places) place.release();
  });

  Deno.test(`batch norm without parameters that train gives the same gradient to x, ${kernels}`, () =>
    checkOp(
      withStatistics(fresh(3), { training: true }),
      (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
      {
        shapes: [[2, 3, 4, 5], [3], [3]],
        gradients: [true, false, false],
        gradAtol: 3e-4,
        kernels,
      },
    ));

  Deno.test(`training moves the running statistics, evaluation leaves them, ${kernels}`, () =>
    checkRunning(kernels));

  for (const shape of [[2, 2, 33, 65], [1, 1, 181, 187]]) {
    Deno.test(`batch norm of ${shape} is exact where E[x²] − E[x]² has no digits left, ${kernels}`, () => {
      const channels = shape[1] as number;
      const data = randomNd(shape, seededRandom(7)).data.map((x) => Math.fround(4096 + x));
      return checkOp(
        withStatistics(fresh(channels), { training: true }),
        (x, weight, bias) => reference.batchNorm(x, weight, bias, EPS),
        {
          shapes: [shape, [channels], [channels]],
          inputs: [data],
          gradients: [false, false, false],
          atol: 2e-3,
          kernels,
        },
      );
    });
  }
}

/** Moves the inputs whose output is near 0, as finite differences would step over the kink. */
function awayFromKink(x: Nd, weight: Nd, bias: Nd): Nd {
  for (let round = 0; round < 20; round++) {
    const { data } = reference.batchNorm(x, weight, bias, EPS);
    if (data.every((value) => Math.abs(value) > 0.01)) return x;
    x.data.forEach((value, i) => {
      if (Math.abs(data[i]) <= 0.01) x.data[i] = Math.fround(value + 0.05);
    });
  }
  throw new Error("no inputs away from the kink were found");
}

async function checkRunning(kernels: Kernels): Promise<void> {
  const gpu = await testGpu(kernels);
  const values = randomNd([3, 5, 7, 9], seededRandom(4), [-2, 3]);
  using x = tensor(gpu, Float32Array.from(values.data), values.shape);
  using weight = tensor(gpu, new Float32Array(5).fill(1), [5]);
  using bias = tensor(gpu, new Float32Array(5), [5]);
  using runningMean = gpu.zeros([5], "running mean");
  using runningVar = gpu.upload(new Float32Array(5).fill(1), [5], "running variance");
  const run = (training: boolean) => {
    const running = { runningMean, runningVar };
    batchNorm(x, { weight, bias }, running, { training, momentum: 0.3 }).dispose();
  };
  run(false);
  assert.deepEqual([...await runningMean.read()], [0, 0, 0, 0, 0]);
  run(true);
  const expected = reference.runningStatistics(values, 0.3);
  assertAllClose("running mean", await runningMean.read(), expected.mean);
  assertAllClose("running variance", await runningVar.read(), expected.variance);
}

for (
  const [shape, forward, backwards] of [
    [[4, 64, 16, 32], 1, 1],
    [[4, 512, 64, 112], 1, 1], // many channels fill a GPU
    [[4, 64, 224, 128], 3, 4], // few do not
  ] as const
) {
  Deno.test(`a GPU runs a batch norm of ${shape}, residual and ReLU in ${forward} dispatches`, () => {
    using gpu = planningGpu();
    const made = (shape: readonly number[]) => new Tensor(gpu.zeros(shape, "input"));
    const inputs = [shape, [shape[1]], [shape[1]], shape].map((shape) => made(shape));
    for (const input of inputs) input.requiresGrad = true;
    const [x, weight, bias, residual] = inputs as [Tensor, Tensor, Tensor, Tensor];
    const counted = (run: () => void) => {
      const before = gpu.queue.dispatches;
      run();
      return gpu.queue.dispatches - before;
    };
    scope(() => {
      let y = x;
      const norm = withStatistics(fresh(shape[1]), { training: true, relu: true });
      assert.equal(counted(() => y = norm(x, weight, bias, residual)), forward);
      assert.equal(counted(() => backward(y, gpu.zeros(shape, "gradient"))), backwards);
    });
  });
}

Deno.test("batch norm of one value a channel is refused in training", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [1, 2], [1, 2, 1, 1]);
  using weight = tensor(gpu, [1, 1], [2]);
  using bias = tensor(gpu, [0, 0], [2]);
  using runningMean = gpu.zeros([2], "running mean");
  using runningVar = gpu.zeros([2], "running variance");
  assert.throws(
    () => batchNorm(x, { weight, bias }, { runningMean, runningVar }, { training: true }),
    /Cannot run batch_norm in training on \[1, 2, 1, 1\]: one value per channel has no variance/,
  );
  using wrong = tensor(gpu, [1, 1, 1], [3]);
  assert.throws(
    () => batchNorm(x, { weight: wrong, bias }, { runningMean, runningVar }, { training: false }),
    /weight must be \[2\], one number per channel: it is \[3\]/,
  );
});
