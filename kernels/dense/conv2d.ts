// Convolution and its input gradient, both correlations with packed weights; formulas in the WGSL.

import { type Accumulator, accumulatorFor } from "../accumulator.ts";
import {
  checkBias,
  conv2dFlops,
  type Conv2dGeometry,
  type Conv2dSizes,
  conv2dSizes,
} from "./conv2d_shape.ts";
import { type Residue, residues } from "./conv2d_residues.ts";
import {
  CORRELATION_PARAMS,
  type CorrelationArrays,
  correlationParams,
  type CorrelationPlaces,
} from "./conv2d_correlation.ts";
import { correlateShared } from "./conv2d_shared.ts";
import source from "./conv2d.wgsl" with { type: "text" };
import { multiply } from "./matmul.ts";
import { packedWeight } from "./pack_weights.ts";
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Precision,
  type Shape,
  sliceByImage,
  wgslConstants,
} from "../runtime/mod.ts";
import { winogradChoice, winogradCorrelate } from "./winograd.ts";
import type { WinogradForm } from "./winograd_form.ts";
import { winogradWeight } from "./winograd_weight.ts";

const shared = {
  file: "kernels/dense/conv2d.wgsl",
  source,
  reads: ["x", "weight", "bias"],
  writes: ["y"],
  params: CORRELATION_PARAMS,
} as const;
const { POSITIONS, CHANNELS, NARROW_CHANNELS } = wgslConstants(
  shared,
  "POSITIONS",
  "CHANNELS",
  "NARROW_CHANNELS",
);
/** A kernel that overwrites, and one that adds. */
function correlation(entry: string, channels: number) {
  const name = `conv2d.${entry}`;
  return {
    channels,
    overwrite: defineKernel({ ...shared, name, entry }),
    add: defineKernel({ ...shared, name: `${name}_add`, entry, constants: { ACCUMULATE: 1 } }),
  };
}
const WIDTHS = new Map([
  ["wide", correlation("correlate", CHANNELS)],
  ["narrow", correlation("correlate_narrow", NARROW_CHANNELS)],
]);

/**
 * 2-D convolution.
 *
 * @param x [N, C, H, W].
 * @param weight [O, C, rows, columns].
 * @param bias [O], or null.
 * @returns [N, O, H', W'].
 * @throws {TypeError} If the shapes do not fit each other.
 * @throws {RangeError} If the geometry is out of range or leaves no output.
 */
export function conv2dForward(
  x: GpuArray,
  weight: GpuArray,
  bias: GpuArray | null,
  geometry: Conv2dGeometry,
): GpuArray {
  const sizes = conv2dSizes(x.shape, weight.shape, geometry);
  checkBias(bias, sizes);
  const { images, outChannels, outHeight, outWidth } = sizes;
  const y = x.gpu.empty([images, outChannels, outHeight, outWidth], "conv2d.forward");
  if (y.size === 0) return y;
  const winograd = x.gpu.choices.choose({
    ...winogradChoice(x.gpu, sizes, "image"),
    key: `conv2d.forward ${x.gpu.kernelClass} ${Object.values(sizes).join(" ")}`,
    arrays: [x, weight, y],
    run: (winograd, [x, weight, y]) => forward({ x, weight, bias: null, y }, sizes, winograd),
  });
  forward({ x, weight, bias, y }, sizes, winograd);
  return y;
}

function forward(
  { x, weight, bias, y }: CorrelationArrays,
  sizes: Conv2dSizes,
  winograd: WinogradForm | null,
): void {
  const { images, inChannels, outChannels, outHeight, outWidth, tapRows, tapColumns } = sizes;
  if (winograd) {
    const u = winogradWeight(winograd, weight, false);
    sliceByImage(
      [x],
      [y],
      ([x], [y]) => winogradCorrelate(winograd, { x, weight: u, bias, y }, sizes),
    );
    u.release();
    return;
  }
  const taps = tapRows * tapColumns;
  const packed = packedWeight(weight, "packed", {
    outer: { count: taps, step: 1 },
    rows: { count: inChannels, step: taps },
    columns: { count: outChannels, step: inChannels * taps },
  });
  const flops = conv2dFlops(sizes) / images;
  sliceByImage([x], [y], ([x], [y]) => {
    if (isProduct(sizes)) return multiplyPixels({ x, weight: packed, bias, y }, sizes.precision);
    const { stride, padding, dilation } = sizes;
    correlate({ x, weight: packed, bias, y }, {
      tapRows,
      tapColumns,
      tapStep: dilation,
      xStep: stride,
      xTop: -padding,
      xLeft: -padding,
      rows: outHeight,
      columns: outWidth,
      yStep: 1,
      yTop: 0,
      yLeft: 0,
    }, { flops, precision: sizes.precision });
  });
  packed.release();
}

/**
 * Gradient of {@link conv2dForward} to its input.
 *
 * @param gradOutput [N, O, H', W'].
 * @param weight [O, C, rows, columns].
 * @param inputShape [N, C, H, W].
 * @param to Where to write it; a new array unless said.
 * @returns [N, C, H, W].
 * @throws {TypeError} If the shapes do not fit each other.
 */
export function conv2dInputGradient(
  gradOutput: GpuArray,
  weight: GpuArray,
  inputShape: Shape,
  geometry: Conv2dGeometry,
  to: true | Accumulator = true,
): GpuArray {
  const sizes = conv2dSizes(inputShape, weight.shape, geometry);
  checkGradOutput(gradOutput, sizes);
  const { gpu } = gradOutput;
  const { array: gradInput, accumulate } = accumulatorFor(
    to,
    () => gpu.empty(inputShape, "conv2d.input_gradient"),
  );
  if (gradInput.size === 0) return gradInput;
  const winograd = gpu.choices.choose({
    ...winogradChoice(gpu, sizes, "image"),
    key: `conv2d.input_gradient ${gpu.kernelClass} ${Object.values(sizes).join(" ")}`,
    arrays: [gradOutput, weight, gradInput],
    run: (winograd, [gradOutput, weight, gradInput]) =>
      inputGradient({ gradOutput, weight, gradInput, accumulate: false }, sizes, winograd),
  });
  inputGradient({ gradOutput, weight, gradInput, accumulate }, sizes, winograd);
  return gradInput;
}

function inputGradient(
  { gradOutput, weight, gradInput, accumulate }: {
    readonly gradOutput: GpuArray;
    readonly weight: GpuArray;
    readonly gradInput: GpuArray;
    readonly accumulate: boolean;
  },
  sizes: Conv2dSizes,
  winograd: WinogradForm | null,
): void {
  const { inHeight, inWidth, tapRows, tapColumns, stride } = sizes;
  if (winograd) {
    const u = winogradWeight(winograd, weight, true);
    sliceByImage(
      [gradOutput],
      [gradInput],
      ([x], [y]) => winogradCorrelate(winograd, { x, weight: u, bias: null, y, accumulate }, sizes),
    );
    u.release();
    return;
  }
  const rows = residues(inHeight, tapRows, sizes);
  const columns = residues(inWidth, tapColumns, sizes);
  const isWhole = rows.length === stride && columns.length === stride;
  if (!isWhole && !accumulate) gradOutput.gpu.clear(gradInput);
  for (const row of rows) {
    for (const column of columns) {
      const packed = packReversed(weight, sizes, row, column);
      const flops = 2 * row.count * column.count * row.taps * column.taps * sizes.inChannels *
        sizes.outChannels;
      sliceByImage([gradOutput], [gradInput], ([x], [y]) => {
        const arrays = { x, weight: packed, bias: null, y, accumulate };
        if (isProduct(sizes)) return multiplyPixels(arrays, sizes.precision);
        correlate(arrays, {
          tapRows: row.taps,
          tapColumns: column.taps,
          tapStep: -row.spacing,
          xStep: 1,
          xTop: row.start,
          xLeft: column.start,
          rows: row.count,
          columns: column.count,
          yStep: stride,
          yTop: row.residue,
          yLeft: column.residue,
        }, { flops, precision: sizes.precision });
      });
      packed.release();
    }
  }
}

/** Checks the gradient of the output. @throws {TypeError} If it has not the output's shape. */
export function checkGradOutput(gradOutput: GpuArray, sizes: Conv2dSizes): void {
  const { images, outChannels, outHeight, outWidth } = sizes;
  const expected = formatShape([images, outChannels, outHeight, outWidth]);
  if (formatShape(gradOutput.shape) !== expected) {
    throw new TypeError(
      `Cannot run the gradient of conv2d as the gradient of its output must be ${expected}: it is ${
        formatShape(gradOutput.shape)
      }`,
    );
  }
}

/** Weights for the input gradient: sums run over output channels, results over input channels. */
function packReversed(
  weight: GpuArray,
  { inChannels, outChannels, tapRows, tapColumns }: Conv2dSizes,
  row: Residue,
  column: Residue,
): GpuArray {
  const taps = tapRows * tapColumns;
  // A single tap of whole quads lies as it should.
  if (taps === 1 && inChannels % 4 === 0) return weight.retain();
  const origin = row.firstTap * tapColumns + column.firstTap;
  const steps = `${row.taps}×${row.tapStep}, ${column.taps}×${column.tapStep}`;
  return packedWeight(weight, `reversed ${origin} ${steps}`, {
    outer: { count: row.taps, step: row.tapStep * tapColumns },
    inner: { count: column.taps, step: column.tapStep },
    rows: { count: outChannels, step: inChannels * taps },
    columns: { count: inChannels, step: taps },
    origin,
  });
}

/** Whether the convolution is a matrix product at every pixel, and pixels come in quads. */
function isProduct(sizes: Conv2dSizes): boolean {
  const { tapRows, tapColumns, stride, padding, inHeight, inWidth } = sizes;
  return tapRows * tapColumns === 1 && stride === 1 && padding === 0 &&
    (inHeight * inWidth) % 4 === 0;
}

/** y[n] = weightᵀ x[n] (+ bias, + y[n]), for 1 × 1 kernels. */
function multiplyPixels(
  { x, weight, bias, y, accumulate = false }: CorrelationArrays,
  precision: Precision,
): void {
  const [batch, depth, height, width] = x.shape as [number, number, number, number];
  const rows = y.shape[1] as number;
  const sizes = { batch, rows, depth, columns: height * width, precision, accumulate };
  multiply({ left: weight, right: x, bias, c: y }, sizes);
}

/** @param work Of one image. */
function correlate(
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  work: { readonly flops: number; readonly precision: Precision },
): void {
  const { x, weight, y } = arrays;
  const flops = x.shape[0] as number * work.flops;
  if (x.gpu.kernelClass === "shared") {
    return correlateShared(arrays, places, flops, work.precision);
  }
  const params = correlationParams({ ...arrays, bias: null }, places);
  const { outChannels } = params;
  // Half of a wide tile would be wasted on the last channels, which costs more than narrow tiles
  // do.
  const isNarrow = outChannels <= 24 && (outChannels - 1) % CHANNELS < NARROW_CHANNELS;
  const width = x.gpu.choices.choose({
    key: `conv2d.correlate ${Object.values(params).join(" ")}`,
    candidates: WIDTHS,
    expected: isNarrow ? "narrow" : "wide",
    arrays: [x, weight, y],
    run: (width, [x, weight, y]) =>
      correlateDirect(width, { x, weight, bias: null, y }, places, flops),
  });
  correlateDirect(width, arrays, places, flops);
}

function correlateDirect(
  { overwrite, add, channels }: ReturnType<typeof correlation>,
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  flops: number,
): void {
  const params = correlationParams(arrays, places);
  const { images, outChannels, rows, columns } = params;
  const { x, weight, bias, y, accumulate = false } = arrays;
  const blocks = Math.ceil(outChannels / channels);
  dispatch(
    accumulate ? add : overwrite,
    { x, weight, bias: bias ?? weight, y }, // without a bias the binding is never read
    params,
    blocks * images * Math.ceil(rows * columns / POSITIONS),
    { flops },
  );
}
