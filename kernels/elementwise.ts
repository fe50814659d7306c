// Element-wise maps of one or two arrays of the same shape; the formulas are in the WGSL.

import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Kernel,
  sameShape,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./elementwise.wgsl" with { type: "text" };

type MapKernel = Kernel<string, "count" | "stride" | "factor">;

const wgsl = { file: "kernels/elementwise.wgsl", source } as const;
const { RUN } = wgslConstants(wgsl, "RUN");

/** `operation` is the constant of the WGSL that stands for the formula. */
function defineMap(
  name: string,
  entry: "unary" | "binary" | "in_place" | "fill",
  operation?: string,
): MapKernel {
  return defineKernel({
    ...wgsl,
    name,
    entry,
    reads: { unary: ["a"], binary: ["a", "b"], in_place: ["b"], fill: [] }[entry],
    writes: ["y"],
    params: { count: "u32", stride: "u32", factor: "f32" },
    constants: operation ? { OPERATION: wgslConstants(wgsl, operation)[operation] } : {},
  });
}

const scale = defineMap("scale", "unary", "SCALE");
const leakyRelu = defineMap("leaky_relu.forward", "unary", "LEAKY_RELU");
const sigmoid = defineMap("sigmoid.forward", "unary", "SIGMOID");
const add = defineMap("add", "binary", "ADD");
const addRelu = defineMap("add_relu", "binary", "ADD_RELU");
const multiply = defineMap("mul", "binary", "MULTIPLY");
const leakyReluGradient = defineMap("leaky_relu.backward", "binary", "LEAKY_RELU_GRADIENT");
const sigmoidGradient = defineMap("sigmoid.backward", "binary", "SIGMOID_GRADIENT");
const addToTarget = defineMap("add_in_place", "in_place", "ADD");
const lerpToTarget = defineMap("lerp_in_place", "in_place", "LERP");
const maskTarget = defineMap("leaky_relu.mask_in_place", "in_place", "LEAKY_RELU_GRADIENT");
const fillTarget = defineMap("fill", "fill");

/** Runs a map into `output`, which an in-place map reads as well. */
function run(
  kernel: MapKernel,
  inputs: readonly GpuArray[],
  output: GpuArray,
  factor = 0,
): void {
  for (const input of inputs) {
    if (!sameShape(input.shape, output.shape)) {
      throw new TypeError(
        `Cannot run ${kernel.name} as all arrays must have one shape: they have ${
          formatShape(output.shape)
        } and ${formatShape(input.shape)}`,
      );
    }
  }
  const stride = strideFor(kernel, output.gpu);
  sliceByElement(inputs, [output], (reads, [y]) => {
    // Each entry takes those that it binds.
    const arrays = { a: reads[0] ?? y, b: reads.at(-1) ?? y, y };
    dispatch(kernel, arrays, { count: y.size, stride, factor }, Math.ceil(y.size / RUN));
  });
}

/** Runs a map into a new array like the first input. */
function map(
  kernel: MapKernel,
  inputs: readonly [GpuArray, ...GpuArray[]],
  factor?: number,
): GpuArray {
  const output = inputs[0].gpu.empty(inputs[0].shape, kernel.name);
  run(kernel, inputs, output, factor);
  return output;
}

/**
 * `target += source`, in place.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function addInPlace(target: GpuArray, source: GpuArray): void {
  run(addToTarget, [source], target);
}

/**
 * Moves `target` towards `source` in place: `target += (source - target) * weight`.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function lerpInPlace(target: GpuArray, source: GpuArray, weight: number): void {
  run(lerpToTarget, [source], target, weight);
}

/**
 * Makes `gradient` that of what went into a ReLU: 0 where `output` is not positive.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function maskInPlace(gradient: GpuArray, output: GpuArray): void {
  run(maskTarget, [output], gradient);
}

/** Overwrites every element of `target` with `value`. */
export function fill(target: GpuArray, value: number): void {
  run(fillTarget, [], target, value);
}

/** `x * factor`, element by element; the gradient is the same map. */
export function scaleForward(x: GpuArray, factor: number): GpuArray {
  return map(scale, [x], factor);
}

/** `x` where positive, else `slope * x`; a slope of 0 is ReLU. */
export function leakyReluForward(x: GpuArray, slope: number): GpuArray {
  return map(leakyRelu, [x], slope);
}

/**
 * Gradient of {@link leakyReluForward} from its output, whose sign is that of the input as long as
 * the slope is not negative; the gradient at 0 is `slope`, as in PyTorch.
 */
export function leakyReluBackward(gradOutput: GpuArray, output: GpuArray, slope: number): GpuArray {
  return map(leakyReluGradient, [gradOutput, output], slope);
}

/** `1 / (1 + exp(-x))`, element by element. */
export function sigmoidForward(x: GpuArray): GpuArray {
  return map(sigmoid, [x]);
}

/** Gradient of {@link sigmoidForward} from its output. */
export function sigmoidBackward(gradOutput: GpuArray, output: GpuArray): GpuArray {
  return map(sigmoidGradient, [gradOutput, output]);
}

/**
 * `a + b`.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function addForward(a: GpuArray, b: GpuArray): GpuArray {
  return map(add, [a, b]);
}

/**
 * `max(a + b, 0)`, the end of a residual block.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function addReluForward(a: GpuArray, b: GpuArray): GpuArray {
  return map(addRelu, [a, b]);
}

/**
 * `a * b`, element by element.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function mulForward(a: GpuArray, b: GpuArray): GpuArray {
  return map(multiply, [a, b]);
}
