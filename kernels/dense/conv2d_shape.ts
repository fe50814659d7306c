// What a convolution's sizes are, and what they must be.

import { formatShape, type Gpu, type GpuArray, type Shape } from "../runtime/mod.ts";

/** Step, zero border and tap distance of a convolution, in pixels, the same along both axes. */
export interface Conv2dGeometry {
  /** Step of the kernel. */
  readonly stride: number;
  /** Zeros around the input. */
  readonly padding: number;
  /** Distance between taps. */
  readonly dilation: number;
}

/** Sizes of a convolution. */
export interface Conv2dSizes extends Conv2dGeometry {
  /** N. */
  readonly images: number;
  /** Channels of the input. */
  readonly inChannels: number;
  /** Height of the input. */
  readonly inHeight: number;
  /** Width of the input. */
  readonly inWidth: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Height of the output. */
  readonly outHeight: number;
  /** Width of the output. */
  readonly outWidth: number;
  /** Rows of the kernel. */
  readonly tapRows: number;
  /** Columns of the kernel. */
  readonly tapColumns: number;
}

/**
 * Sizes of the convolution of `input` [N, C, H, W] with `weight` [O, C, rows, columns].
 *
 * @throws {TypeError} If the shapes do not fit each other.
 * @throws {RangeError} If the geometry is out of range or leaves no output.
 */
export function conv2dSizes(input: Shape, weight: Shape, geometry: Conv2dGeometry): Conv2dSizes {
  const [images, inChannels, inHeight, inWidth] = fourAxes(input, "the input");
  const [outChannels, channels, tapRows, tapColumns] = fourAxes(weight, "the weight");
  if (channels !== inChannels) {
    throw new TypeError(
      `Cannot run conv2d as input channels must equal weight channels: input has ${inChannels}, weight expects ${channels}`,
    );
  }
  const { stride, padding, dilation } = geometry;
  wholeNumber("stride", stride, 1);
  wholeNumber("padding", padding, 0);
  wholeNumber("dilation", dilation, 1);
  const outHeight = outputLength(inHeight, tapRows, geometry);
  const outWidth = outputLength(inWidth, tapColumns, geometry);
  if (outHeight < 1 || outWidth < 1) {
    throw new RangeError(
      `Cannot run conv2d as the kernel is larger than the padded input: input is ${
        formatShape([inHeight, inWidth])
      } with padding ${padding}, the kernel ${
        formatShape([tapRows, tapColumns])
      } with dilation ${dilation}`,
    );
  }
  return {
    images,
    inChannels,
    inHeight,
    inWidth,
    outChannels,
    outHeight,
    outWidth,
    tapRows,
    tapColumns,
    stride,
    padding,
    dilation,
  };
}

/** Most bytes of one scratch array of a convolution, unless a single image takes more. */
export const SCRATCH_BYTES = 2 ** 26;
/** The same on GPUs, which lose time at every dispatch. */
const GPU_SCRATCH_BYTES = 2 ** 28;

/** Most bytes of one scratch array of a convolution, unless a single image takes more. */
export function scratchBytes(gpu: Gpu): number {
  return gpu.kernelClass === "shared" ? GPU_SCRATCH_BYTES : SCRATCH_BYTES;
}

/** Checks the bias against the sizes. @throws {TypeError} If it is not [outChannels]. */
export function checkBias(bias: GpuArray | null, { outChannels }: Conv2dSizes): void {
  if (bias && (bias.shape.length !== 1 || bias.size !== outChannels)) {
    throw new TypeError(
      `Cannot run conv2d as the bias must be [${outChannels}]: it is ${formatShape(bias.shape)}`,
    );
  }
}

/** Floating-point operations of the convolution, or of one of its gradients. */
export function conv2dFlops(sizes: Conv2dSizes): number {
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  return 2 * images * outHeight * outWidth * outChannels * inChannels * tapRows * tapColumns;
}

function fourAxes(shape: Shape, what: string): [number, number, number, number] {
  const [a, b, c, d] = shape;
  if (shape.length !== 4 || a === undefined || b === undefined || !c || !d) {
    throw new TypeError(
      `Cannot run conv2d as ${what} must have four axes, the last two not empty: it is ${
        formatShape(shape)
      }`,
    );
  }
  return [a, b, c, d];
}

function wholeNumber(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(
      `Cannot run conv2d as ${name} must be a whole number of at least ${least}: it is ${value}`,
    );
  }
}

function outputLength(length: number, taps: number, geometry: Conv2dGeometry): number {
  const { stride, padding, dilation } = geometry;
  return Math.floor((length + 2 * padding - dilation * (taps - 1) - 1) / stride) + 1;
}
