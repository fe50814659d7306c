import { strict as assert } from "node:assert";
import { resizeLabels } from "../../kernels/resize.ts";
import { mulChannels } from "../../nn/functional/elementwise.ts";
import {
  concatChannels,
  globalAveragePool,
  maxPool2d,
  resizeBilinear,
} from "../../nn/functional/spatial.ts";
import { backward, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { checkOp } from "../_check.ts";
import { guardedGpu, KERNEL_CLASSES, narrowGpu, testGpu } from "../_device.ts";
import { mulChannels as scaled } from "../_reference/elementwise.ts";
import * as reference from "../_reference/spatial.ts";

const STEM = { kernel: 3, stride: 2, padding: 1, ceilMode: true };

/** Distinct numbers far enough apart that a small step changes no maximum. */
function distinct(count: number): number[] {
  return Array.from({ length: count }, (_, i) => ((i * 7919) % count) / 16);
}

// Sides that end on a whole window, one pixel short of one, and in a single pixel.
for (const [height, width] of [[9, 11], [8, 10], [1, 2], [5, 1]] as const) {
  const shape = [3, 5, height, width];
  const options = { shapes: [shape], inputs: [distinct(15 * height * width)] };
  Deno.test(`max pooling of ${height}×${width} in ceil mode matches its reference`, () =>
    checkOp((x) => maxPool2d(x, STEM), (x) => reference.maxPool2d(x, STEM), options));
}

for (
  const windows of [
    { kernel: 3, stride: 2, padding: 1, ceilMode: false },
    { kernel: 2, stride: 2, padding: 0, ceilMode: true },
    { kernel: 2, stride: 3, padding: 1, ceilMode: true },
    { kernel: 5, stride: 1, padding: 2, ceilMode: false },
  ]
) {
  const { kernel, stride, padding, ceilMode } = windows;
  const mode = ceilMode ? "ceil" : "floor";
  const name = `kernel ${kernel}, stride ${stride}, padding ${padding} in ${mode} mode`;
  Deno.test(`max pooling with ${name} matches its reference`, () =>
    checkOp((x) => maxPool2d(x, windows), (x) => reference.maxPool2d(x, windows), {
      shapes: [[2, 3, 7, 10]],
      inputs: [distinct(420)],
    }));
}

Deno.test("max pooling in ceil mode counts windows as PyTorch does", async () => {
  const gpu = await testGpu();
  // [side, kernel, stride, padding, windows] of torch 1.13's max_pool2d(…, ceil_mode=True).
  const counted = [
    [7, 3, 2, 1, 4],
    [8, 3, 2, 1, 5],
    [1, 3, 2, 1, 1],
    [2, 3, 2, 1, 2],
    [4, 2, 3, 1, 2],
    [6, 2, 3, 1, 3],
    [8, 4, 5, 2, 2],
  ] as const;
  for (const [side, kernel, stride, padding, windows] of counted) {
    using x = tensor(gpu, new Float32Array(side * side), [1, 1, side, side]);
    using y = maxPool2d(x, { kernel, stride, padding, ceilMode: true });
    assert.deepEqual(y.shape, [1, 1, windows, windows], `side ${side}, kernel ${kernel}`);
  }
});

Deno.test("max pooling gives a tie's gradient to its first place, and lets NaN and infinity through", async () => {
  const gpu = await testGpu();
  const values = [2, 2, -Infinity, -Infinity, NaN, 9, 9, NaN, 1, Infinity];
  using x = tensor(gpu, values, [1, 5, 1, 2], { requiresGrad: true });
  using y = scope(() => {
    const pooled = maxPool2d(x, STEM);
    const gradient = Float32Array.from({ length: 10 }, (_, i) => i + 1);
    backward(pooled, gpu.upload(gradient, pooled.shape, "gradient"));
    return pooled;
  });
  const largest = [2, 2, -Infinity, -Infinity, NaN, 9, NaN, NaN, Infinity, Infinity];
  assert.deepEqual([...await y.read()], largest);
  assert.deepEqual([...await x.grad?.read() ?? []], [1, 2, 3, 4, 5, 6, 0, 15, 0, 19]);
});

Deno.test("max pooling refuses impossible windows and inputs smaller than one", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, new Float32Array(6), [1, 1, 2, 3]);
  using flat = tensor(gpu, new Float32Array(6), [2, 3]);
  assert.throws(
    () => maxPool2d(x, { ...STEM, padding: 2 }),
    /padding 2: kernel and stride must be/,
  );
  assert.throws(() => maxPool2d(x, { ...STEM, stride: 0 }), { name: "RangeError" });
  assert.throws(() => maxPool2d(x, { ...STEM, kernel: 5 }), /a window of 5 must fit .* 2 \+ 2 · 1/);
  assert.throws(() => maxPool2d(flat, STEM), {
    name: "TypeError",
    message: 'Cannot run max_pool2d as it takes [N, C, H, W]: "tensor" is [2, 3]',
  });
});

for (const [height, width] of [[5, 7], [1, 1], [3, 41]] as const) {
  Deno.test(`global average pooling of ${height}×${width} matches its reference`, () =>
    checkOp(globalAveragePool, reference.globalAveragePool, { shapes: [[3, 5, height, width]] }));

  for (const kernels of KERNEL_CLASSES) {
    Deno.test(`the gradient of global average pooling of ${height}×${width} is added to another, ${kernels}`, () =>
      checkOp(
        (x) => mulChannels(x!, globalAveragePool(x!)),
        (x) => scaled(x!, reference.globalAveragePool(x!)),
        { shapes: [[3, 5, height, width]], kernels },
      ));
  }
}

Deno.test("global average pooling refuses empty planes", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, [], [1, 2, 0, 3]);
  assert.throws(() => globalAveragePool(x), /the planes are empty/);
});

for (const kernels of KERNEL_CLASSES) {
  Deno.test(`channels of one, two and five tensors are joined and their gradients cut, ${kernels}`, async () => {
    const join = (...parts: Parameters<typeof concatChannels>[0]) => concatChannels(parts);
    for (const channels of [[3], [2, 5], [1, 4, 2, 1, 3]]) {
      await checkOp(join, reference.concatChannels, {
        shapes: channels.map((count) => [3, count, 3, 5]),
        kernels,
      });
    }
    await checkOp(join, reference.concatChannels, {
      shapes: [[2, 1, 3, 5], [2, 2, 3, 5], [2, 1, 3, 5]],
      gradients: [true, false, true],
      kernels,
    });
  });
}

Deno.test("joining refuses other images or planes, and nothing at all", async () => {
  const gpu = await testGpu();
  using a = tensor(gpu, new Float32Array(12), [1, 2, 2, 3]);
  using b = tensor(gpu, new Float32Array(12), [1, 2, 3, 2]);
  assert.throws(() => concatChannels([a, b]), /\[1, 2, 2, 3\] and \[1, 2, 3, 2\]/);
  assert.throws(() => concatChannels([]), /got no arrays/);
});

const RESIZES = [
  ["up, odd sides", [5, 7], [13, 10]],
  ["up eightfold", [3, 5], [24, 40]],
  ["down", [13, 10], [5, 3]],
  ["down a lot", [40, 33], [2, 3]],
  ["up one way and down the other", [4, 19], [9, 6]],
  ["to the same size", [5, 6], [5, 6]],
  ["from one pixel", [1, 1], [3, 4]],
  ["to one pixel", [4, 3], [1, 1]],
  ["from one row", [1, 6], [4, 9]],
] as const;

for (const [name, [inputHeight, inputWidth], [height, width]] of RESIZES) {
  Deno.test(`bilinear resizing ${name} matches its reference`, () => {
    const size = { height, width };
    return checkOp((x) => resizeBilinear(x, size), (x) => reference.resizeBilinear(x, size), {
      shapes: [[2, 3, inputHeight, inputWidth]],
    });
  });
}

Deno.test("bilinear resizing to the same size keeps every bit", async () => {
  const gpu = await testGpu();
  const data = Float32Array.from({ length: 2 * 37 * 41 }, (_, i) => Math.sin(i) * 1e3);
  using x = tensor(gpu, data, [1, 2, 37, 41]);
  using y = resizeBilinear(x, { height: 37, width: 41 });
  assert.deepEqual(await y.read(), data);
});

Deno.test("bilinear resizing refuses an empty output and an empty input", async () => {
  const gpu = await testGpu();
  using x = tensor(gpu, new Float32Array(6), [1, 1, 2, 3]);
  using empty = tensor(gpu, [], [1, 1, 0, 3]);
  assert.throws(() => resizeBilinear(x, { height: 0, width: 3 }), /they are 0 and 3/);
  assert.throws(() => resizeBilinear(x, { height: 2.5, width: 3 }), { name: "RangeError" });
  assert.throws(() => resizeBilinear(empty, { height: 2, width: 3 }), /input .* they are 0 and 3/);
});

Deno.test("nearest resizing of labels takes the pixels that PyTorch takes", async () => {
  // [length, output length, the pixels that torch 1.13's interpolate(mode="nearest") takes].
  const taken: [number, number, string][] = [
    [7, 3, "0 2 4"],
    [3, 7, "0 0 0 1 1 2 2"],
    [10, 4, "0 2 5 7"],
    [5, 13, "0 0 0 1 1 1 2 2 3 3 3 4 4"],
    [9, 9, "0 1 2 3 4 5 6 7 8"],
    [19, 8, "0 2 4 7 9 11 14 16"],
    // Exact arithmetic would take pixel 1 from the 41st on, 32 bits do so from the 42nd.
    [2, 82, [...Array(42).fill(0), ...Array(40).fill(1)].join(" ")],
  ];
  for (const gpu of [await guardedGpu(), await narrowGpu(512)]) {
    for (const [length, outputLength, pixels] of taken) {
      const places = pixels.split(" ").map(Number);
      const rows = Uint32Array.from({ length: 3 * length }, (_, i) => i + 7);
      using labels = gpu.upload(rows, [3, 1, length], "labels");
      using wide = resizeLabels(labels, { height: 1, width: outputLength });
      const expected = [0, 1, 2].flatMap((n) => places.map((at) => n * length + at + 7));
      assert.deepEqual([...await wide.read()], expected, `across, ${length} to ${outputLength}`);
      using column = labels.view([3, length, 1]);
      using tall = resizeLabels(column, { height: outputLength, width: 1 });
      assert.deepEqual([...await tall.read()], expected, `down, ${length} to ${outputLength}`);
    }
  }
});

Deno.test("tensors so large that an invocation owns several planes give the bits of their planes alone", async () => {
  const gpu = await testGpu();
  const [planes, side] = [37, 144];
  const plane = side * side;
  const data = Float32Array.from({ length: planes * plane }, (_, i) => Math.sin(i * i));
  const operations: [string, (x: Tensor) => Tensor][] = [
    ["maxPool2d", (x) => maxPool2d(x, STEM)],
    ["globalAveragePool", globalAveragePool],
    ["resizeBilinear", (x) => resizeBilinear(x, { height: 71, width: 90 })],
  ];
  const run = async (operation: (x: Tensor) => Tensor, from: number, count: number) => {
    const numbers = data.subarray(from * plane, (from + count) * plane);
    using x = tensor(gpu, numbers, [1, count, side, side], { requiresGrad: true });
    using y = scope(() => {
      const output = operation(x);
      const outputs = output.array.size / count;
      const gradient = Float32Array.from(
        { length: count * outputs },
        (_, i) => Math.cos(from * outputs + i),
      );
      backward(output, gpu.upload(gradient, output.shape, "gradient"));
      return output;
    });
    return [await y.read(), await x.grad?.read() ?? new Float32Array()] as const;
  };
  for (const [name, operation] of operations) {
    const [output, gradient] = await run(operation, 0, planes);
    for (const at of [0, 1, 20, 36]) {
      const [own, ownGradient] = await run(operation, at, 1);
      const part = (whole: Float32Array) =>
        whole.subarray(at * whole.length / planes, (at + 1) * whole.length / planes);
      assert.deepEqual(part(output), own, `${name} of plane ${at}`);
      assert.deepEqual(part(gradient), ownGradient, `gradient of ${name} of plane ${at}`);
    }
  }
  using labels = gpu.upload(Uint32Array.from(data.keys()), [planes, side, side], "labels");
  using resized = resizeLabels(labels, { height: 72, width: 72 });
  const expected = Uint32Array.from({ length: planes * 72 * 72 }, (_, i) => {
    const [n, row, column] = [Math.floor(i / 5184), Math.floor(i / 72) % 72, i % 72];
    return n * plane + 2 * row * side + 2 * column;
  });
  assert.deepEqual(await resized.read(), expected);
});
