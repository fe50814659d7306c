// Softmax over channels and its logarithm; the formulas are in the WGSL.

import { checkShape, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, type Kernel, sliceByImage } from "./runtime/mod.ts";
import source from "./softmax.wgsl" with { type: "text" };

const shared = {
  file: "kernels/softmax.wgsl",
  source,
  params: { pixels: "u32", classes: "u32", plane: "u32", scale: "f32" },
} as const;
const forwardArrays = { ...shared, reads: ["x"], writes: ["y"] } as const;
const backwardArrays = { ...shared, reads: ["gradY", "savedY"], writes: ["gradX"] } as const;

const softmax = defineKernel({ ...forwardArrays, name: "softmax.forward", entry: "forward" });
const logSoftmax = defineKernel({
  ...forwardArrays,
  name: "log_softmax.forward",
  entry: "log_forward",
});
const softmaxGradient = defineKernel({
  ...backwardArrays,
  name: "softmax.backward",
  entry: "backward",
});
const logSoftmaxGradient = defineKernel({
  ...backwardArrays,
  name: "log_softmax.backward",
  entry: "log_backward",
});

/**
 * softmax(scale x) over the channels of [N, K, H, W].
 *
 * @throws {TypeError} If `x` has another number of axes.
 */
export function softmaxForward(x: GpuArray, scale = 1): GpuArray {
  return runForward(softmax, x, scale);
}

/**
 * log softmax(scale x) over the channels of [N, K, H, W].
 *
 * @throws {TypeError} If `x` has another number of axes.
 */
export function logSoftmaxForward(x: GpuArray, scale = 1): GpuArray {
  return runForward(logSoftmax, x, scale);
}

/** Gradient of {@link softmaxForward} from its output. */
export function softmaxBackward(gradOutput: GpuArray, output: GpuArray, scale = 1): GpuArray {
  return runBackward(softmaxGradient, gradOutput, output, scale);
}

/** Gradient of {@link logSoftmaxForward} from its output. */
export function logSoftmaxBackward(gradOutput: GpuArray, output: GpuArray, scale = 1): GpuArray {
  return runBackward(logSoftmaxGradient, gradOutput, output, scale);
}

type Params = "pixels" | "classes" | "plane" | "scale";

function runForward(kernel: Kernel<"x" | "y", Params>, input: GpuArray, scale: number): GpuArray {
  const { classes, plane } = mapSizes(kernel.name, input);
  const output = input.gpu.empty(input.shape, kernel.name);
  sliceByImage([input], [output], ([x], [y]) => {
    const pixels = x.shape[0] * plane;
    dispatch(
      kernel,
      { x, y },
      { pixels, classes, plane, scale },
      pixels,
    );
  });
  return output;
}

function runBackward(
  kernel: Kernel<"gradY" | "savedY" | "gradX", Params>,
  gradOutput: GpuArray,
  output: GpuArray,
  scale: number,
): GpuArray {
  const { classes, plane } = mapSizes(kernel.name, output);
  checkShape(kernel.name, gradOutput, output.shape);
  const gradInput = output.gpu.empty(output.shape, kernel.name);
  sliceByImage([gradOutput, output], [gradInput], ([gradY, savedY], [gradX]) => {
    const pixels = gradX.shape[0] * plane;
    dispatch(
      kernel,
      { gradY, savedY, gradX },
      { pixels, classes, plane, scale },
      pixels,
    );
  });
  return gradInput;
}
