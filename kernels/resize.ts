// Resizing of planes; the formulas are in the WGSL.

import { checkShape } from "./class_map.ts";
import {
  checkSize,
  imageSizes,
  labelSizes,
  type Size,
  sliceByPlane,
  spreadPlanes,
} from "./planes.ts";
import {
  type AnyArray,
  defineKernel,
  dispatch,
  type GpuArray,
  type Shape,
  sliceByImage,
} from "./runtime/mod.ts";
import source from "./resize.wgsl" with { type: "text" };

const shared = {
  file: "kernels/resize.wgsl",
  source,
  params: {
    planes: "u32",
    run: "u32",
    height: "u32",
    width: "u32",
    outputHeight: "u32",
    outputWidth: "u32",
    scaleY: "f32",
    scaleX: "f32",
  },
} as const;
const forward = defineKernel({
  ...shared,
  name: "resize.forward",
  entry: "forward",
  reads: ["x"],
  writes: ["y"],
});
const backward = defineKernel({
  ...shared,
  name: "resize.backward",
  entry: "backward",
  reads: ["gradY"],
  writes: ["gradX"],
});
const nearest = defineKernel({
  ...shared,
  name: "resize.nearest",
  entry: "nearest",
  reads: ["labels"],
  writes: ["resizedLabels"],
});

/**
 * Resizes planes, bilinear with aligned corners: output pixel o shows the input at
 * o · (length − 1) / (outputLength − 1).
 *
 * @param x [N, C, H, W], not empty.
 * @returns [N, C, height, width].
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If a side of either is empty.
 */
export function resizeBilinearForward(x: GpuArray, size: Size): GpuArray {
  const { images, channels, ...inputSize } = imageSizes("resize", x);
  checkSize("resize from this input", inputSize);
  checkSize("resize", size);
  const output = x.gpu.empty([images, channels, size.height, size.width], "resize.forward");
  sliceByPlane([x], [output], ([x], [y]) => {
    const { grid, run } = spreadPlanes(forward, y);
    dispatch(forward, { x, y }, { run, ...sizes(x, y, step) }, grid);
  });
  return output;
}

/**
 * Gradient of {@link resizeBilinearForward}.
 *
 * @param gradOutput [N, C, height, width].
 * @param inputShape [N, C, H, W].
 * @throws {TypeError} If the two differ in images or channels.
 */
export function resizeBilinearBackward(gradOutput: GpuArray, inputShape: Shape): GpuArray {
  const { height, width } = imageSizes("resize.backward", gradOutput);
  const [images = 0, channels = 0] = inputShape;
  checkShape("resize.backward", gradOutput, [images, channels, height, width]);
  const gradInput = gradOutput.gpu.empty(inputShape, "resize.backward");
  sliceByPlane([gradOutput], [gradInput], ([gradY], [gradX]) => {
    const { grid, run } = spreadPlanes(backward, gradX);
    dispatch(backward, { gradY, gradX }, { run, ...sizes(gradX, gradY, step) }, grid);
  });
  return gradInput;
}

/**
 * Resizes label maps: each output pixel takes the input pixel that PyTorch's
 * `interpolate(mode="nearest")` takes.
 *
 * @param labels [N, H, W], not empty.
 * @returns [N, height, width].
 * @throws {TypeError} If `labels` has another number of axes.
 * @throws {RangeError} If a side of either is empty.
 */
export function resizeLabels(labels: GpuArray<"u32">, size: Size): GpuArray<"u32"> {
  const { images, ...inputSize } = labelSizes("resize.nearest", labels);
  checkSize("resize.nearest from this input", inputSize);
  checkSize("resize.nearest", size);
  const resized = labels.gpu.empty([images, size.height, size.width], labels.label, "u32");
  sliceByImage([labels], [resized], ([labels], [resizedLabels]) => {
    const ratio = (length: number, outputLength: number) => length / outputLength;
    const { grid, run } = spreadPlanes(nearest, resizedLabels);
    const params = { run, ...sizes(labels, resizedLabels, ratio) };
    dispatch(nearest, { labels, resizedLabels }, params, grid);
  });
  return resized;
}

/** Input pixels from one output pixel to the next where corners are aligned. */
export function step(length: number, outputLength: number): number {
  return outputLength === 1 ? 0 : (length - 1) / (outputLength - 1);
}

function sizes(
  { shape: [planes = 0, height = 0, width = 0] }: AnyArray,
  { shape: [, outputHeight = 0, outputWidth = 0] }: AnyArray,
  scale: (length: number, outputLength: number) => number,
) {
  return {
    planes,
    height,
    width,
    outputHeight,
    outputWidth,
    scaleY: scale(height, outputHeight),
    scaleX: scale(width, outputWidth),
  };
}
