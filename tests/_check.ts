// Comparisons: one line checks an operation, forward and every gradient, in four ways.

import { strict as assert } from "node:assert";
import { elementCount, formatShape, type Gpu, type Shape } from "../kernels/runtime/mod.ts";
import { scale } from "../nn/functional/elementwise.ts";
import { backward, scope } from "../nn/tape.ts";
import { type Tensor, tensor } from "../nn/tensor.ts";
import { guardedGpu, type Kernels, narrowGpu, testGpu } from "./_device.ts";

/** A host array of doubles, for references. */
export interface Nd {
  readonly data: Float64Array;
  readonly shape: Shape;
}

/** How far numbers may differ: `atol + rtol * |expected|`. */
export interface Tolerance {
  readonly atol?: number;
  readonly rtol?: number;
}

/** Fails with the worst element, both values and the share of the tolerance it used. */
export function assertAllClose(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { atol = 1e-5, rtol = 1e-5 }: Tolerance = {},
): void {
  assert.equal(actual.length, expected.length, `${name} has another length`);
  let worst = -1;
  let worstShare = 0;
  for (let i = 0; i < actual.length; i++) {
    const [found, wanted] = [actual[i] as number, expected[i] as number];
    const share = Math.abs(found - wanted) / (atol + rtol * Math.abs(wanted));
    if (!(share <= worstShare) && !Object.is(found, wanted)) [worst, worstShare] = [i, share];
  }
  if (!(worstShare <= 1)) {
    assert.fail(
      `${name}[${worst}] is ${actual[worst]}, expected ${expected[worst]}: ${
        (worstShare * 100).toFixed(0)
      } % of the tolerance (atol ${atol}, rtol ${rtol})`,
    );
  }
}

/** A small deterministic generator (mulberry32) of numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Uniform random numbers that a 32-bit float holds exactly. */
export function randomNd(shape: Shape, random: () => number, [low, high] = [-1, 1]): Nd {
  const data = new Float64Array(elementCount(shape));
  for (let i = 0; i < data.length; i++) data[i] = Math.fround(low! + (high! - low!) * random());
  return { data, shape };
}

/** What `checkOp` draws and how closely it compares. */
export interface CheckOptions {
  readonly shapes: readonly Shape[];
  /** Range of the random inputs. */
  readonly range?: readonly [number, number];
  /** Inputs to use instead of random ones, as values that a 32-bit float holds exactly. */
  readonly inputs?: readonly (ArrayLike<number> | undefined)[];
  /** Which inputs get a gradient; all unless said. */
  readonly gradients?: readonly boolean[];
  readonly atol?: number;
  readonly rtol?: number;
  readonly gradAtol?: number;
  readonly gradRtol?: number;
  /** Binding limit for the repeat with splitting, in bytes; 0 leaves the repeat out. */
  readonly narrow?: number;
  /** The class of kernels to check; the adapter's unless said. */
  readonly kernels?: Kernels;
  readonly seed?: number;
}

type Op = (...inputs: Tensor[]) => Tensor;
type Reference = (...inputs: Nd[]) => Nd;

/**
 * Checks an operation against its f64 twin: the forward; every gradient against numeric
 * differentiation of the twin; the same gradients against finite differences of the GPU's own
 * forward; sentinels behind every array; and all again where bindings are too small for a tensor.
 */
export async function checkOp(op: Op, reference: Reference, options: CheckOptions): Promise<void> {
  const random = seededRandom(options.seed ?? 1);
  const inputs = options.shapes.map((shape, index): Nd => {
    const given = options.inputs?.[index];
    return given
      ? { data: Float64Array.from(given), shape }
      : randomNd(shape, random, [...(options.range ?? [-1, 1])]);
  });
  const expected = reference(...inputs);
  const cotangent = randomNd(expected.shape, random);
  const wanted = inputs.map((_, index) => options.gradients?.[index] ?? true);
  const gradients = inputs.map((_, index) =>
    wanted[index] ? sampledGradient(reference, inputs, index, cotangent, random) : []
  );
  const narrow = options.narrow ?? 512;
  const devices: [string, Promise<Gpu>][] = [["", guardedGpu(options.kernels)]];
  if (narrow > 0) {
    const rows = Math.max(
      ...[...inputs, expected].map(({ data, shape }) => (data.length * 4) / (shape[0] ?? 1)),
    );
    devices.push([
      " (split)",
      narrowGpu(Math.max(narrow, Math.ceil(rows / 256) * 256), options.kernels),
    ]);
  }
  for (const [suffix, opening] of devices) {
    const gpu = await opening;
    const found = await runOnGpu(gpu, op, inputs, wanted, cotangent);
    assert.deepEqual([...found.shape], [...expected.shape], `shape of the output${suffix}`);
    assertAllClose(`output${suffix}`, found.output, expected.data, {
      atol: options.atol ?? 1e-5,
      rtol: options.rtol ?? 1e-5,
    });
    gradients.forEach((samples, index) => {
      const gradient = found.gradients[index];
      const tolerance = { atol: options.gradAtol ?? 1e-4, rtol: options.gradRtol ?? 1e-4 };
      assertAllClose(
        `gradient of input ${index} at ${samples.map(({ at }) => at).join()}${suffix}`,
        samples.map(({ at }) => gradient?.[at] ?? NaN),
        samples.map(({ value }) => value),
        tolerance,
      );
    });
    if (suffix === "") {
      const plain = await testGpu(options.kernels);
      await finiteDifferences(plain, op, inputs, wanted, cotangent, found.gradients, random);
    }
  }
}

interface GpuResult {
  readonly shape: Shape;
  readonly output: Float32Array;
  readonly gradients: readonly (Float32Array | undefined)[];
}

/** Runs the operation and its backward from `cotangent`, and leaves nothing allocated. */
async function runOnGpu(
  gpu: Gpu,
  op: Op,
  inputs: readonly Nd[],
  wanted: readonly boolean[],
  cotangent: Nd,
): Promise<GpuResult> {
  const before = gpu.memory.live;
  const tensors = inputs.map(({ data, shape }, index) =>
    tensor(gpu, Float32Array.from(data), shape, {
      requiresGrad: wanted[index] ?? true,
      label: `input ${index}`,
    })
  );
  const result = scope(() => {
    // Intermediates that are gone before the backward: it must have saved what it reads.
    const passing = tensors.map((tensor) => scale(tensor, 1));
    const output = op(...passing);
    for (const tensor of passing) if (tensor !== output) tensor.dispose();
    if (wanted.some(Boolean)) {
      backward(
        output,
        gpu.upload(Float32Array.from(cotangent.data), cotangent.shape, "cotangent"),
      );
    }
    return output;
  });
  const output = await result.read();
  const gradients: (Float32Array | undefined)[] = [];
  for (const { grad } of tensors) gradients.push(await grad?.read());
  const shape = result.shape;
  result.dispose();
  for (const input of tensors) input.dispose();
  assert.equal(gpu.memory.live, before, "bytes are left behind by the operation or its backward");
  return { shape, output, gradients };
}

interface Sample {
  readonly at: number;
  readonly value: number;
}

/** Central differences of the f64 twin at every element, or at 48 of them where there are more. */
function sampledGradient(
  reference: Reference,
  inputs: readonly Nd[],
  index: number,
  cotangent: Nd,
  random: () => number,
): Sample[] {
  const { data, shape } = inputs[index] as Nd;
  const every = [...data.keys()];
  const chosen = every.length <= 64
    ? every
    : Array.from({ length: 48 }, () => Math.floor(random() * every.length));
  const step = 1e-5;
  return chosen.map((at) => {
    const along = (sign: number) => {
      const moved = data.slice();
      moved[at] = (moved[at] as number) + sign * step;
      const changed = inputs.map((input, i) => (i === index ? { data: moved, shape } : input));
      return dot(reference(...changed).data, cotangent.data);
    };
    return { at, value: (along(1) - along(-1)) / (2 * step) };
  });
}

/**
 * Compares each gradient, along one random direction, with a four-point stencil of the GPU's own
 * forward. 32-bit floats leave few digits, so this catches wrong signs, factors and indices only.
 */
async function finiteDifferences(
  gpu: Gpu,
  op: Op,
  inputs: readonly Nd[],
  wanted: readonly boolean[],
  cotangent: Nd,
  gradients: readonly (Float32Array | undefined)[],
  random: () => number,
): Promise<void> {
  const step = 2e-3;
  for (const [index, gradient] of gradients.entries()) {
    const input = inputs[index] as Nd;
    if (!gradient || !wanted[index]) continue;
    const direction = randomNd(input.shape, random);
    const along = async (distance: number) => {
      const moved = input.data.map((x, i) => x + distance * (direction.data[i] as number));
      const changed = inputs.map((other, i) =>
        i === index ? { data: moved, shape: input.shape } : other
      );
      const { output } = await runOnGpu(gpu, op, changed, wanted.map(() => false), cotangent);
      return dot(output, cotangent.data);
    };
    const [near, far] = [
      await along(step) - await along(-step),
      await along(2 * step) -
      await along(-2 * step),
    ];
    const numeric = (8 * near - far) / (12 * step);
    const analytic = dot(gradient, direction.data);
    const size = Math.sqrt(dot(gradient, gradient) * dot(direction.data, direction.data));
    const difference = Math.abs(numeric - analytic);
    assert.ok(
      difference <= 0.05 * size + 0.02,
      `gradient of input ${index} ${
        formatShape(input.shape)
      } along a random direction is ${analytic}, ` +
        `finite differences on the GPU give ${numeric}`,
    );
  }
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
