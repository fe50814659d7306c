// What is timed: the shapes that the results speak of, and those that the official network spends
// its time in, at 896×512.

import { conv2dFlops, conv2dSizes } from "../../kernels/dense/conv2d_shape.ts";
import { type ConvolutionShape, SHAPES } from "../_shapes.ts";

const plain = { stride: 1, padding: 0, dilation: 1 } as const;
const dilated = (dilation: number) => ({ stride: 1, padding: dilation, dilation });

/** Layers of ResNet-101 on a crop of 896×512. */
const OFFICIAL: readonly ConvolutionShape[] = [
  {
    name: "3×3 d2 256→256 [4, 256, 64, 112]",
    x: [4, 256, 64, 112],
    outputs: 256,
    kernel: 3,
    geometry: dilated(2),
  },
  {
    name: "1×1 1024→256 [4, 1024, 64, 112]",
    x: [4, 1024, 64, 112],
    outputs: 256,
    kernel: 1,
    geometry: plain,
  },
  {
    name: "1×1 256→1024 [4, 256, 64, 112]",
    x: [4, 256, 64, 112],
    outputs: 1024,
    kernel: 1,
    geometry: plain,
  },
  {
    name: "ASPP 3×3 d12 2048→256 [1, 2048, 64, 112]",
    x: [1, 2048, 64, 112],
    outputs: 256,
    kernel: 3,
    geometry: dilated(12),
  },
];

/** Convolutions in the order in which they are timed. bench/pytorch_step.py times the same. */
export const CONVOLUTIONS: readonly ConvolutionShape[] = [
  ...SHAPES.slice(0, 4),
  ...OFFICIAL,
  ...SHAPES.slice(4),
];

/** Sides of square matrix products. */
export const PRODUCTS: readonly number[] = [4096, 1024];

/** Floating-point operations of a convolution. */
export function flopsOf({ x, outputs, kernel, geometry }: ConvolutionShape): number {
  return conv2dFlops(conv2dSizes(x, [outputs, x[1], kernel, kernel], geometry));
}
