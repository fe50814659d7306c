// Element-wise maps of one or two arrays of the same shape; the formulas are in the WGSL.

import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  gridFor,
  type Kernel,
  sameShape,
  sliceByElement,
} from "./runtime/mod.ts";
import source from "./elementwise.wgsl" with { type: "text" };

const WORKGROUP_SIZE = 128;

/** A formula as two kernels: by vec4, and by element for sizes that four does not divide. */
interface MapKernel {
  readonly name: string;
  readonly byVec4: Kernel<string, "count" | "factor">;
  readonly byElement: Kernel<string, "count" | "factor">;
}

/** `operation` is the number of a constant in the WGSL. */
function defineMap(
  name: string,
  operation: number,
  entry: "unary" | "binary" | "in_place",
): MapKernel {
  const reads = { unary: ["a"], binary: ["a", "b"], in_place: ["b"] }[entry];
  const shared = {
    name,
    file: "kernels/elementwise.wgsl",
    source,
    params: { count: "u32", factor: "f32" },
    constants: { OPERATION: operation },
  } as const;
  return {
    name,
    byVec4: defineKernel({ ...shared, entry, reads, writes: ["y"] }),
    byElement: defineKernel({
      ...shared,
      entry: `${entry}_scalar`,
      reads: reads.map((array) => `${array}Scalar`),
      writes: ["yScalar"],
    }),
  };
}

const scale = defineMap("scale", 1, "unary");
const leakyRelu = defineMap("leaky_relu.forward", 2, "unary");
const sigmoid = defineMap("sigmoid.forward", 3, "unary");
const add = defineMap("add", 4, "binary");
const addRelu = defineMap("add_relu", 5, "binary");
const multiply = defineMap("mul", 6, "binary");
const leakyReluGradient = defineMap("leaky_relu.backward", 8, "binary");
const sigmoidGradient = defineMap("sigmoid.backward", 9, "binary");
const addToTarget = defineMap("add_in_place", 4, "in_place");
const lerpToTarget = defineMap("lerp_in_place", 7, "in_place");
const fillTarget = defineKernel({
  name: "fill",
  file: "kernels/elementwise.wgsl",
  source,
  entry: "fill",
  reads: [],
  writes: ["yScalar"],
  params: { count: "u32", factor: "f32" },
});

function run(
  kernel: MapKernel,
  inputs: readonly [GpuArray, ...GpuArray[]],
  factor = 0,
  output: GpuArray = inputs[0].gpu.empty(inputs[0].shape, kernel.name),
): GpuArray {
  for (const input of inputs) {
    if (!sameShape(input.shape, output.shape)) {
      throw new TypeError(
        `Cannot run ${kernel.name} as all arrays must have one shape: they have ${
          formatShape(input.shape)
        } and ${formatShape(output.shape)}`,
      );
    }
  }
  sliceByElement(inputs, [output], (reads, [y]) => {
    const divisible = y.size % 4 === 0;
    const count = divisible ? y.size / 4 : y.size;
    const chosen = divisible ? kernel.byVec4 : kernel.byElement;
    const arrays = Object.fromEntries(
      [...reads, y].map((array, index) => [chosen.arrays[index].name, array]),
    );
    dispatch(chosen, arrays, { count, factor }, gridFor(count, WORKGROUP_SIZE));
  });
  return output;
}

/** `target += source`, in place. @throws {TypeError} If the shapes differ. */
export function addInPlace(target: GpuArray, source: GpuArray): void {
  run(addToTarget, [source], 0, target);
}

/**
 * Moves `target` towards `source` in place: `target += (source - target) * weight`.
 *
 * @throws {TypeError} If the shapes differ.
 */
export function lerpInPlace(target: GpuArray, source: GpuArray, weight: number): void {
  run(lerpToTarget, [source], weight, target);
}

/** Overwrites every element of `target` with `value`. */
export function fill(target: GpuArray, value: number): void {
  sliceByElement([], [target], (_, [y]) => {
    const params = { count: y.size, factor: value };
    dispatch(fillTarget, { yScalar: y }, params, gridFor(y.size, WORKGROUP_SIZE));
  });
}

/** `x * factor`, element by element; the gradient is the same map. */
export function scaleForward(x: GpuArray, factor: number): GpuArray {
  return run(scale, [x], factor);
}

/** `x` where positive, else `slope * x`; a slope of 0 is ReLU. */
export function leakyReluForward(x: GpuArray, slope: number): GpuArray {
  return run(leakyRelu, [x], slope);
}

/**
 * Gradient of {@link leakyReluForward} from its output, whose sign is that of the input as long as
 * the slope is not negative; the gradient at 0 is `slope`, as in PyTorch.
 */
export function leakyReluBackward(gradOutput: GpuArray, output: GpuArray, slope: number): GpuArray {
  return run(leakyReluGradient, [gradOutput, output], slope);
}

/** `1 / (1 + exp(-x))`, element by element. */
export function sigmoidForward(x: GpuArray): GpuArray {
  return run(sigmoid, [x]);
}

/** Gradient of {@link sigmoidForward} from its output. */
export function sigmoidBackward(gradOutput: GpuArray, output: GpuArray): GpuArray {
  return run(sigmoidGradient, [gradOutput, output]);
}

/** `a + b`. @throws {TypeError} If the shapes differ. */
export function addForward(a: GpuArray, b: GpuArray): GpuArray {
  return run(add, [a, b]);
}

/** `max(a + b, 0)`, the end of a residual block. @throws {TypeError} If the shapes differ. */
export function addReluForward(a: GpuArray, b: GpuArray): GpuArray {
  return run(addRelu, [a, b]);
}

/** `a * b`, element by element. @throws {TypeError} If the shapes differ. */
export function mulForward(a: GpuArray, b: GpuArray): GpuArray {
  return run(multiply, [a, b]);
}
