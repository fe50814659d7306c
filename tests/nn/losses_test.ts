import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import {
  bceWithLogitsLoss,
  crossEntropy,
  featureDistance,
  klDivergence,
  leastSquaresLoss,
  softCrossEntropy,
  symmetricCrossEntropy,
  uniformPrior,
} from "../../nn/functional/losses.ts";
import { backward, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp, type Nd, randomNd, seededRandom } from "../_check.ts";
import { testGpu } from "../_device.ts";
import * as reference from "../_reference/losses.ts";

const IMAGES = 3, HEIGHT = 5, WIDTH = 7;
const PIXELS = IMAGES * HEIGHT * WIDTH;
const IGNORE = 255;
const ALPHA = 0.1, BETA = 1;

/** Labels of which about every fifth is ignored. */
function randomLabels(classes: number, ignoreLabel = IGNORE): Uint32Array<ArrayBuffer> {
  const random = seededRandom(classes);
  return Uint32Array.from(
    { length: PIXELS },
    () => random() < 0.2 ? ignoreLabel : Math.floor(random() * classes),
  );
}

/** Numbers in [0, 1), one for each pixel. */
function seededUniform(seed: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: PIXELS }, random);
}

function uploadPixels(gpu: Gpu, data: Uint32Array): GpuArray<"u32"> {
  return gpu.upload(data, [IMAGES, HEIGHT, WIDTH], "pixels");
}

/** Probabilities [IMAGES, K, HEIGHT, WIDTH], with the first class impossible in some pixels. */
function randomTargets(classes: number): Nd {
  const random = seededRandom(classes);
  const logits = randomNd([IMAGES, classes, HEIGHT, WIDTH], random, [-4, 4]);
  const plane = HEIGHT * WIDTH;
  for (let p = 0; p < plane; p += 3) logits.data[p] = -1000;
  const { data, shape } = reference.softmax(logits);
  return { data: data.map(Math.fround), shape };
}

for (const classes of [8, 13, 19]) {
  const shapes = [[IMAGES, classes, HEIGHT, WIDTH]];
  const options = { shapes, range: [-4, 4], gradAtol: 1e-5 } as const;
  const labels = randomLabels(classes);

  Deno.test(`cross entropy of ${classes} classes matches its reference`, () =>
    checkOp(
      (logits) => {
        using array = uploadPixels(logits.gpu, labels);
        return crossEntropy(logits, array);
      },
      (logits) => reference.crossEntropy(logits, labels),
      options,
    ));

  // Logits up to 12 take some probabilities below the clamp of 1e-7.
  for (const range of [[-4, 4], [-12, 12]] as const) {
    Deno.test(
      `symmetric cross entropy of ${classes} classes matches its reference for logits up to ${
        range[1]
      }`,
      () =>
        checkOp(
          (logits) => {
            using array = uploadPixels(logits.gpu, labels);
            return symmetricCrossEntropy(logits, array, { alpha: ALPHA, beta: BETA });
          },
          (logits) => reference.symmetricCrossEntropy(logits, labels, ALPHA, BETA),
          { ...options, range },
        ),
    );
  }

  for (const [alpha, beta, range] of [[1, 0, [-4, 4]], [ALPHA, BETA, [-12, 12]]] as const) {
    const targets = randomTargets(classes);
    Deno.test(
      `cross entropy of ${classes} classes with soft labels matches its reference, ${beta} of it reverse`,
      () =>
        checkOp(
          (logits) => {
            using soft = logits.gpu.upload(Float32Array.from(targets.data), shapes[0], "targets");
            using array = uploadPixels(logits.gpu, labels);
            return softCrossEntropy(logits, soft, array, { alpha, beta });
          },
          (logits) => reference.softCrossEntropy(logits, targets, labels, alpha, beta),
          { ...options, range },
        ),
    );
  }

  Deno.test(`soft labels of ${classes} classes that are one-hot give the loss of hard ones`, async () => {
    const gpu = await testGpu();
    const random = seededRandom(classes);
    const { data } = randomNd(shapes[0], random, [-4, 4]);
    const plane = HEIGHT * WIDTH;
    const oneHot = Float32Array.from(data, (_, i) => {
      const pixel = Math.floor(i / (classes * plane)) * plane + i % plane;
      return labels[pixel] === Math.floor(i / plane) % classes ? 1 : 0;
    });
    using logits = tensor(gpu, Float32Array.from(data), shapes[0]);
    using soft = gpu.upload(oneHot, shapes[0], "one-hot");
    using array = uploadPixels(gpu, labels);
    using found = softCrossEntropy(logits, soft, array);
    using expected = symmetricCrossEntropy(logits, array);
    assertAllClose("loss", await found.read(), await expected.read(), { atol: 0, rtol: 1e-5 });
  });

  // Of quality or share; some weigh nothing, some more than one.
  const weights = Float32Array.from(seededUniform(classes), (w, i) => i % 4 === 0 ? 0 : 1.5 * w);
  const uploadWeights = (gpu: Gpu) => gpu.upload(weights, [IMAGES, HEIGHT, WIDTH], "weights");

  Deno.test(`weighted cross entropy of ${classes} classes matches its reference`, () =>
    checkOp(
      (logits) => {
        using array = uploadPixels(logits.gpu, labels);
        using pixelWeights = uploadWeights(logits.gpu);
        return crossEntropy(logits, array, { pixelWeights });
      },
      (logits) => reference.crossEntropy(logits, labels, IGNORE, weights),
      options,
    ));

  Deno.test(`weighted symmetric cross entropy of ${classes} classes matches its reference`, () =>
    checkOp(
      (logits) => {
        using array = uploadPixels(logits.gpu, labels);
        using pixelWeights = uploadWeights(logits.gpu);
        return symmetricCrossEntropy(logits, array, { alpha: ALPHA, beta: BETA, pixelWeights });
      },
      (logits) => reference.symmetricCrossEntropy(logits, labels, ALPHA, BETA, IGNORE, weights),
      { ...options, range: [-12, 12] },
    ));

  Deno.test(`weighted cross entropy of ${classes} classes with soft labels matches its reference`, () => {
    const targets = randomTargets(classes);
    return checkOp(
      (logits) => {
        using soft = logits.gpu.upload(Float32Array.from(targets.data), shapes[0], "targets");
        using array = uploadPixels(logits.gpu, labels);
        using pixelWeights = uploadWeights(logits.gpu);
        return softCrossEntropy(logits, soft, array, { alpha: ALPHA, beta: BETA, pixelWeights });
      },
      (logits) => reference.softCrossEntropy(logits, targets, labels, ALPHA, BETA, weights),
      { ...options, range: [-12, 12] },
    );
  });

  Deno.test(`${classes} classes whose pixels all weigh one lose the same bits as unweighted ones`, async () => {
    const gpu = await testGpu();
    const { data } = randomNd(shapes[0], seededRandom(classes), [-4, 4]);
    using array = uploadPixels(gpu, labels);
    using soft = gpu.upload(Float32Array.from(randomTargets(classes).data), shapes[0], "targets");
    using pixelWeights = gpu.upload(new Float32Array(PIXELS).fill(1), array.shape, "weights");
    const lossOf = async (pixelWeights: GpuArray | null) => {
      const found = [];
      for (
        const loss of [
          (logits: Tensor) => symmetricCrossEntropy(logits, array, { pixelWeights }),
          (logits: Tensor) => softCrossEntropy(logits, soft, array, { pixelWeights }),
        ]
      ) {
        using logits = tensor(gpu, Float32Array.from(data), shapes[0], { requiresGrad: true });
        using value = scope(() => {
          const value = loss(logits);
          backward(value);
          return value;
        });
        found.push(await value.read(), await logits.grad?.read());
      }
      return found;
    };
    assert.deepEqual(await lossOf(pixelWeights), await lossOf(null));
  });

  for (const [scale, official] of [[1, false], [-0.5, true]] as const) {
    const kl = { scale, divideByClasses: official, softmaxAsLog: official };
    const targets = randomTargets(classes);
    const mask = randomLabels(1, 0).map((_, i) => i % 3 === 0 ? 0 : 1);
    Deno.test(
      `KL divergence of ${classes} classes at scale ${scale} matches its reference inside a mask${
        official ? ", with the official formula" : ""
      }`,
      () =>
        checkOp(
          (logits) => {
            using array = logits.gpu.upload(Float32Array.from(targets.data), shapes[0], "targets");
            using counted = uploadPixels(logits.gpu, mask);
            return klDivergence(logits, array, { mask: counted, ...kl });
          },
          (logits) => reference.klDivergence(logits, targets, mask, kl),
          options,
        ),
    );
  }

  for (const divideByClasses of [false, true]) {
    Deno.test(
      `uniform prior of ${classes} classes matches its reference, ${
        divideByClasses ? "per pixel and class" : "per pixel"
      }`,
      () =>
        checkOp(
          (logits) => uniformPrior(logits, { divideByClasses }),
          (logits) => reference.uniformPrior(logits, divideByClasses),
          options,
        ),
    );
  }
}

for (const label of [0, 1, 0.9]) {
  const options = { shapes: [[3, 1, 5, 7]], range: [-8, 8], gradAtol: 1e-5 } as const;

  Deno.test(`least-squares loss against ${label} matches its reference`, () =>
    checkOp((x) => leastSquaresLoss(x, label), (x) => reference.leastSquares(x, label), options));

  Deno.test(`BCE with logits against ${label} matches its reference`, () =>
    checkOp((x) => bceWithLogitsLoss(x, label), (x) => reference.bceWithLogits(x, label), options));
}

Deno.test("BCE with logits stays finite for scores of two hundred", () =>
  checkOp((x) => bceWithLogitsLoss(x, 1), (x) => reference.bceWithLogits(x, 1), {
    shapes: [[1, 1, 2, 2]],
    inputs: [[200, -200, 100, -100]],
  }));

Deno.test("symmetric cross entropy clamps probabilities to 1e-7, which cuts their gradient", async () => {
  const gpu = await testGpu();
  using logits = tensor(gpu, [40, ...new Array(18).fill(0)], [1, 19, 1, 1], { requiresGrad: true });
  using labels = gpu.upload(new Uint32Array(1), [1, 1, 1], "labels");
  using loss = scope(() => {
    const loss = symmetricCrossEntropy(logits, labels, { alpha: 0, beta: 1 });
    backward(loss);
    return loss;
  });
  const clamped = -18 * 1e-7 * Math.log(1e-4);
  assertAllClose("loss", await loss.read(), [clamped], { atol: 0, rtol: 1e-5 });
  assert.deepEqual((await logits.grad?.read())?.map(Math.abs), new Float32Array(19));
});

Deno.test("KL divergence without a mask counts every pixel", () => {
  const targets = randomTargets(8);
  return checkOp(
    (logits) => {
      using array = logits.gpu.upload(Float32Array.from(targets.data), targets.shape, "targets");
      return klDivergence(logits, array);
    },
    (logits) => reference.klDivergence(logits, targets, null),
    { shapes: [targets.shape], range: [-4, 4], gradAtol: 1e-5 },
  );
});

Deno.test("KL divergence takes a mask of floats or of integers", async () => {
  const gpu = await testGpu();
  const targets = randomTargets(8);
  const bits = Uint32Array.from({ length: PIXELS }, (_, i) => i % 2);
  using logits = tensor(gpu, new Float32Array(targets.data.length), targets.shape);
  using array = gpu.upload(Float32Array.from(targets.data), targets.shape, "targets");
  using integers = uploadPixels(gpu, bits);
  using floats = gpu.upload(Float32Array.from(bits), integers.shape, "mask");
  using byIntegers = klDivergence(logits, array, { mask: integers });
  using byFloats = klDivergence(logits, array, { mask: floats });
  assert.deepEqual(await byIntegers.read(), await byFloats.read());
});

Deno.test("KL divergence of a softmax from itself is zero", async () => {
  const gpu = await testGpu();
  const logits = randomNd([2, 19, 5, 7], seededRandom(1), [20, 40]);
  const targets = Float32Array.from(reference.softmax(logits).data);
  using input = tensor(gpu, Float32Array.from(logits.data), logits.shape);
  using array = gpu.upload(targets, logits.shape, "targets");
  using loss = klDivergence(input, array);
  assertAllClose("loss", await loss.read(), [0], { atol: 2e-6 });
});

Deno.test("an ignore label below K hides a class, and labels from K up never count", () => {
  const labels = randomLabels(8).map((label, i) => i === 0 ? 8 : i === 1 ? 4_000_000_000 : label);
  const counted = labels.map((label) => label >= 8 || label === 2 ? IGNORE : label);
  return checkOp(
    (logits) => {
      using array = uploadPixels(logits.gpu, labels);
      return crossEntropy(logits, array, { ignoreLabel: 2 });
    },
    (logits) => reference.crossEntropy(logits, counted),
    { shapes: [[IMAGES, 8, HEIGHT, WIDTH]], range: [-4, 4], gradAtol: 1e-5 },
  );
});

Deno.test("a loss without a pixel that counts is zero and so is its gradient", async () => {
  const gpu = await testGpu();
  const random = seededRandom(5);
  const shape = [IMAGES, 8, HEIGHT, WIDTH];
  using labels = uploadPixels(gpu, new Uint32Array(PIXELS).fill(IGNORE));
  using mask = uploadPixels(gpu, new Uint32Array(PIXELS));
  using targets = gpu.upload(Float32Array.from(randomTargets(8).data), shape, "targets");
  const losses: ((logits: Tensor) => Tensor)[] = [
    (logits) => featureDistance(logits, targets, mask),
    (logits) => crossEntropy(logits, labels),
    (logits) => symmetricCrossEntropy(logits, labels),
    (logits) => klDivergence(logits, targets, { mask }),
  ];
  for (const loss of losses) {
    using logits = tensor(gpu, Float32Array.from(randomNd(shape, random).data), shape, {
      requiresGrad: true,
    });
    using value = scope(() => {
      const value = loss(logits);
      backward(value);
      return value;
    });
    assert.deepEqual(await value.read(), Float32Array.of(0));
    assert.deepEqual(await logits.grad?.read(), new Float32Array(logits.array.size));
  }
});

Deno.test("cross entropy of many pixels is a mean in several folds, the same bits every time", async () => {
  const gpu = await testGpu();
  const [classes, height, width] = [3, 241, 391];
  const random = seededRandom(9);
  const logits = randomNd([2, classes, height, width], random, [-4, 4]);
  const labels = Uint32Array.from({ length: 2 * height * width }, () => Math.floor(random() * 4));
  labels.forEach((label, i) => labels[i] = label === 3 ? IGNORE : label);
  using input = tensor(gpu, Float32Array.from(logits.data), logits.shape);
  using array = gpu.upload(labels, [2, height, width], "labels");
  using first = crossEntropy(input, array);
  using second = crossEntropy(input, array);
  assertAllClose("loss", await first.read(), reference.crossEntropy(logits, labels).data, {
    atol: 0,
    rtol: 1e-6,
  });
  assert.deepEqual(await first.read(), await second.read());
});

for (const channels of [1, 13, 64]) {
  Deno.test(`the distance of features of ${channels} channels matches its reference`, () => {
    const shape = [IMAGES, channels, HEIGHT, WIDTH];
    const anchors = randomNd(shape, seededRandom(channels), [4, 6]); // nowhere near the features
    const mask = randomLabels(2, 0);
    return checkOp(
      (features) => {
        using array = features.gpu.upload(Float32Array.from(anchors.data), shape, "anchors");
        using counted = uploadPixels(features.gpu, mask);
        return featureDistance(features, array, counted);
      },
      (features) => reference.featureDistance(features, anchors, mask),
      { shapes: [shape], range: [-2, 2], gradAtol: 1e-5 },
    );
  });
}

Deno.test("features at their anchors have distance 0 and gradient 0, whatever others have", async () => {
  const gpu = await testGpu();
  const shape = [1, 3, 1, 3];
  const features = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
  using x = tensor(gpu, features, shape, { requiresGrad: true });
  // The second pixel is 5 away, and the third, infinitely far away, does not count.
  const far = features.map((value, i) => value + [0, 3, Infinity, 0, 0, 0, 0, 4, 0][i]);
  using anchors = gpu.upload(far, shape, "anchors");
  using mask = gpu.upload(Float32Array.of(0.5, 1, 0), [1, 1, 3], "mask");
  using loss = scope(() => {
    const loss = featureDistance(x, anchors, mask);
    backward(loss);
    return loss;
  });
  assert.deepEqual(await loss.read(), Float32Array.of(2.5));
  const expected = [0, -0.3, 0, 0, 0, 0, 0, -0.4, 0];
  assertAllClose("gradient", await x.grad?.read() ?? [], expected, { atol: 1e-7 });
});

Deno.test("losses refuse shapes that do not fit, naming both", async () => {
  const gpu = await testGpu();
  using logits = tensor(gpu, new Float32Array(24), [1, 4, 2, 3], { label: "logits" });
  using flat = tensor(gpu, new Float32Array(24), [4, 6], { label: "flat" });
  using labels = gpu.upload(new Uint32Array(6), [1, 3, 2], "labels");
  using zeros = gpu.upload(new Uint32Array(6), [1, 2, 3], "zeros");
  assert.throws(() => crossEntropy(logits, labels), {
    name: "TypeError",
    message: /"labels" must be \[1, 2, 3\]: it is \[1, 3, 2\]/,
  });
  assert.throws(() => crossEntropy(logits, zeros, { pixelWeights: flat.array }), {
    name: "TypeError",
    message: /"flat" must be \[1, 2, 3\]: it is \[4, 6\]/,
  });
  assert.throws(() => softCrossEntropy(logits, logits.array, zeros, { pixelWeights: flat.array }), {
    name: "TypeError",
    message: /"flat" must be \[1, 2, 3\]: it is \[4, 6\]/,
  });
  assert.throws(() => uniformPrior(flat), {
    name: "TypeError",
    message: /takes \[N, K, H, W\]: "flat" is \[4, 6\]/,
  });
  assert.throws(() => klDivergence(flat, flat.array), {
    name: "TypeError",
    message: /takes \[N, K, H, W\]: "flat" is \[4, 6\]/,
  });
  assert.throws(() => featureDistance(logits, logits.array, labels), {
    name: "TypeError",
    message: /"labels" must be \[1, 2, 3\]/,
  });
  assert.throws(() => klDivergence(logits, flat.array), {
    name: "TypeError",
    message: /"flat" must be \[1, 4, 2, 3\]/,
  });
});
