// The convolutions that are timed here and beside the peers.

import type { Conv2dGeometry } from "../kernels/dense/conv2d_shape.ts";

/** A convolution to time. */
export interface ConvolutionShape {
  readonly name: string;
  readonly x: readonly [number, number, number, number];
  readonly outputs: number;
  readonly kernel: number;
  readonly geometry: Conv2dGeometry;
}

/** S1 to S4, which the results speak of, come first. */
export const SHAPES: readonly ConvolutionShape[] = [
  {
    name: "S1 3×3 64→64 [4, 64, 32, 64]",
    x: [4, 64, 32, 64],
    outputs: 64,
    kernel: 3,
    geometry: { stride: 1, padding: 1, dilation: 1 },
  },
  {
    name: "S2 3×3 d2 256→256 [4, 256, 16, 32]",
    x: [4, 256, 16, 32],
    outputs: 256,
    kernel: 3,
    geometry: { stride: 1, padding: 2, dilation: 2 },
  },
  {
    name: "S3 1×1 256→64 [4, 256, 32, 64]",
    x: [4, 256, 32, 64],
    outputs: 64,
    kernel: 1,
    geometry: { stride: 1, padding: 0, dilation: 1 },
  },
  {
    name: "S4 7×7 s2 3→64 [4, 3, 128, 256]",
    x: [4, 3, 128, 256],
    outputs: 64,
    kernel: 7,
    geometry: { stride: 2, padding: 3, dilation: 1 },
  },
  {
    name: "3×3 s2 64→128 [4, 64, 32, 64]",
    x: [4, 64, 32, 64],
    outputs: 128,
    kernel: 3,
    geometry: { stride: 2, padding: 1, dilation: 1 },
  },
  {
    name: "ASPP 3×3 d8 512→64 [4, 512, 12, 24]",
    x: [4, 512, 12, 24],
    outputs: 64,
    kernel: 3,
    geometry: { stride: 1, padding: 8, dilation: 8 },
  },
  ...[6, 12, 18, 24].map((dilation) => ({
    name: `ASPP 3×3 d${dilation} 2048→256 [1, 2048, 32, 32]`,
    x: [1, 2048, 32, 32] as const,
    outputs: 256,
    kernel: 3,
    geometry: { stride: 1, padding: dilation, dilation },
  })),
];
