// What a correlation takes, in whichever class of kernels: conv2d.wgsl has the formula.

import type { GpuArray } from "../runtime/mod.ts";

/** Arrays of a correlation. */
export interface CorrelationArrays {
  /** [N, C, H, W]. */
  readonly x: GpuArray;
  /** Packed: [tap rows, tap columns, C, O up to a multiple of 4]. */
  readonly weight: GpuArray;
  /** [O], or null. */
  readonly bias: GpuArray | null;
  /** Output, [N, O, H', W']. */
  readonly y: GpuArray;
  /** Whether to add to y instead of overwriting it (default false). */
  readonly accumulate?: boolean;
}

/** Fields of `Params` in the WGSL that say which elements of x and y meet. */
const PLACES = {
  rows: "u32",
  columns: "u32",
  tapRows: "u32",
  tapColumns: "u32",
  tapStep: "i32",
  xStep: "i32",
  xTop: "i32",
  xLeft: "i32",
  yStep: "u32",
  yTop: "u32",
  yLeft: "u32",
} as const;

/**
 * Which elements of x and y meet: `rows` × `columns` outputs per image, and the steps between them.
 */
export type CorrelationPlaces = Readonly<Record<keyof typeof PLACES, number>>;

/** Fields of `Params` in the WGSL. */
export const CORRELATION_PARAMS = {
  images: "u32",
  inChannels: "u32",
  inHeight: "u32",
  inWidth: "u32",
  outChannels: "u32",
  outHeight: "u32",
  outWidth: "u32",
  ...PLACES,
  hasBias: "u32",
} as const;

/** Values of {@link CORRELATION_PARAMS}. */
export type CorrelationParams = Record<keyof typeof CORRELATION_PARAMS, number>;

/** The parameters of a correlation of these arrays. */
export function correlationParams(
  { x, bias, y }: CorrelationArrays,
  places: CorrelationPlaces,
): CorrelationParams {
  const [images, inChannels, inHeight, inWidth] = x.shape as [number, number, number, number];
  const [, outChannels, outHeight, outWidth] = y.shape as [number, number, number, number];
  const sizes = { images, inChannels, inHeight, inWidth, outChannels, outHeight, outWidth };
  return { ...sizes, ...places, hasBias: bias ? 1 : 0 };
}
