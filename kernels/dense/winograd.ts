// Convolutions with 3 × 3 kernels at stride 1 by Winograd's F(2 × 2, 3 × 3); formulas in the WGSL.

import { multiply, MULTIPLY_TILE } from "./matmul.ts";
import { type Conv2dSizes, SCRATCH_BYTES } from "./conv2d_shape.ts";
import {
  defineKernel,
  dispatch,
  type Gpu,
  type GpuArray,
  type Ways,
  wgslConstants,
} from "../runtime/mod.ts";
import source from "./winograd.wgsl" with { type: "text" };

/** `multiply` takes as many columns at a time, which must share their left operand. */
const TILE_STEP = MULTIPLY_TILE.columns;
/** Invocations of the product for a weight gradient worth having. */
const ENOUGH_PRODUCTS = 256;
/**
 * Cost of transforming one element at 16 places, in products at one: measured on a software
 * adapter, and for GPUs reckoned from 128 bytes to move an element and some eight products in the
 * time of a byte.
 */
const TRANSFORM_COST = { direct: 18, shared: 64 } as const;
/** Cost of a product for a weight gradient, in those of the direct kernel; measured. */
const WEIGHT_COST = 1.3;

const shared = { file: "kernels/dense/winograd.wgsl", source } as const;
const { PLACES } = wgslConstants(shared, "PLACES");
const params = {
  firstImage: "u32",
  images: "u32",
  channels: "u32",
  height: "u32",
  width: "u32",
  tileRows: "u32",
  tileColumns: "u32",
  tileQuads: "u32",
  channelQuads: "u32",
  dilation: "u32",
  padding: "i32",
  hasBias: "u32",
} as const;
const weightKernel = defineKernel({
  ...shared,
  name: "winograd.weight",
  entry: "transform_weight",
  reads: ["weight"],
  writes: ["u"],
  paramsVariable: "weight_params",
  params: { rows: "u32", columns: "u32", rowStep: "u32", columnStep: "u32", reversed: "u32" },
});
const inputKernel = defineKernel({
  ...shared,
  name: "winograd.input",
  entry: "transform_input",
  reads: ["x"],
  writes: ["v"],
  params,
});
const outputKernel = defineKernel({
  ...shared,
  name: "winograd.output",
  entry: "transform_output",
  reads: ["m", "bias"],
  writes: ["y"],
  params,
});

const tileKernel = { ...shared, reads: ["x"], writes: ["v"], params } as const;
const tileInputKernel = defineKernel({
  ...tileKernel,
  name: "winograd.input_by_tile",
  entry: "transform_input_by_tile",
});
const tileGradientKernel = defineKernel({
  ...tileKernel,
  name: "winograd.gradient",
  entry: "transform_gradient",
});
const totalKernel = defineKernel({
  ...shared,
  name: "winograd.weight_total",
  entry: "total_weight",
  reads: ["m"],
  writes: ["gradWeight"],
  paramsVariable: "total_params",
  params: {
    channels: "u32",
    outChannels: "u32",
    channelQuads: "u32",
    splits: "u32",
    accumulate: "u32",
  },
});

/** How the weights are read: [O, C, 3, 3] as they stand, or for the gradient of the input. */
export interface WinogradWeight {
  /** Channels to sum over. */
  readonly rows: number;
  /** Channels of the result. */
  readonly columns: number;
  /** Elements between two rows. */
  readonly rowStep: number;
  /** Elements between two columns. */
  readonly columnStep: number;
  /** Whether the taps are read backwards. */
  readonly reversed: boolean;
}

/**
 * Transforms weights for {@link winogradCorrelate}.
 *
 * @returns [16, rows, columns up to a multiple of 4].
 */
export function winogradWeight(weight: GpuArray, layout: WinogradWeight): GpuArray {
  const { rows, columns, rowStep, columnStep, reversed } = layout;
  const quads = Math.ceil(columns / 4);
  const u = weight.gpu.empty([PLACES, rows, quads * 4], `transformed ${weight.label}`);
  dispatch(
    weightKernel,
    { weight, u },
    { rows, columns, rowStep, columnStep, reversed: reversed ? 1 : 0 },
    rows * quads,
  );
  return u;
}

/** What tiles lie on. */
interface Plane {
  readonly height: number;
  readonly width: number;
  readonly dilation: number;
}

/** Tiles along both axes: those of every lattice, as many in each. */
function tileCounts({ height, width, dilation }: Plane): { tileRows: number; tileColumns: number } {
  const along = (length: number) => dilation * Math.ceil(Math.ceil(length / dilation) / 2);
  return { tileRows: along(height), tileColumns: along(width) };
}

/** Whether Winograd's algorithm can compute the convolution and its gradients. */
function winogradFits(gpu: Gpu, sizes: Conv2dSizes): boolean {
  const { tapRows, tapColumns, stride, padding, dilation } = sizes;
  if (tapRows !== 3 || tapColumns !== 3 || stride !== 1 || padding !== dilation) return false;
  const { inChannels, outChannels, inHeight: height, inWidth: width } = sizes;
  const { tileRows, tileColumns } = tileCounts({ height, width, dilation });
  const channels = wholeTiles(Math.max(inChannels, outChannels));
  // Of channels × tiles and channels × channels.
  const most = Math.max(tileRows * tileColumns + TILE_STEP, channels);
  return PLACES * channels * most * 4 <= gpu.maxBindingBytes;
}

/** Whether to take Winograd's algorithm, as a part of a problem for `gpu.choices`. */
export function winogradChoice(
  gpu: Gpu,
  sizes: Conv2dSizes,
  what: "image" | "weight",
): Ways<boolean> {
  return {
    candidates: winogradFits(gpu, sizes) ? BOTH_WAYS : ONE_WAY,
    expected: winogradPays(gpu, sizes, what) ? "winograd" : "direct",
  };
}

const ONE_WAY: ReadonlyMap<string, boolean> = new Map([["direct", false]]);
const BOTH_WAYS: ReadonlyMap<string, boolean> = new Map([["direct", false], ["winograd", true]]);

/**
 * Whether Winograd's algorithm can compute the convolution or one of its gradients, and is expected
 * to be faster than the direct kernels: it saves 20 of 36 products, but transforms every channel,
 * rounds each lattice up to whole tiles, and cannot skip the taps of a large dilation that fall
 * outside.
 */
export function winogradPays(gpu: Gpu, sizes: Conv2dSizes, what: "image" | "weight"): boolean {
  if (!winogradFits(gpu, sizes)) return false;
  const { inChannels, outChannels, inHeight: height, inWidth: width, dilation } = sizes;
  const { tileRows, tileColumns } = tileCounts({ height, width, dilation });
  const tiles = tileRows * tileColumns;
  const used = (length: number) => (length + 2 * Math.max(0, length - dilation)) / 3;
  const direct = 9 * used(height) * (what === "image" ? width : used(width) / WEIGHT_COST);
  const cost = TRANSFORM_COST[gpu.kernelClass];
  const transforms = cost / inChannels + cost / outChannels;
  return PLACES * tiles * (1 + transforms) < direct;
}

/** Columns of a product that {@link multiply} takes: a multiple of {@link TILE_STEP}. */
function wholeTiles(columns: number): number {
  return Math.ceil(columns / TILE_STEP) * TILE_STEP;
}

/** Images whose transforms fit one binding and {@link SCRATCH_BYTES}, at least one. */
function imagesAtOnce(gpu: Gpu, channels: number, tiles: number): number {
  const bytes = Math.min(gpu.maxBindingBytes, SCRATCH_BYTES);
  return Math.max(1, Math.floor((bytes / (PLACES * channels * 4) - TILE_STEP) / tiles));
}

/** Calls `run` for ranges of images whose transforms fit, with the params of the range. */
function byTiles(
  gpu: Gpu,
  plane: Plane & { readonly images: number; readonly padding: number },
  channels: number,
  run: (
    range: Omit<Record<keyof typeof params, number>, "channels" | "channelQuads" | "hasBias">,
  ) => void,
): void {
  const { images, height, width, dilation, padding } = plane;
  const { tileRows, tileColumns } = tileCounts(plane);
  const step = imagesAtOnce(gpu, channels, tileRows * tileColumns);
  for (let firstImage = 0; firstImage < images; firstImage += step) {
    const part = Math.min(step, images - firstImage);
    const tileQuads = wholeTiles(part * tileRows * tileColumns) / 4;
    const tiles = { tileRows, tileColumns, tileQuads };
    run({ firstImage, images: part, height, width, dilation, padding, ...tiles });
  }
}

/**
 * y[n,o,i,j] = bias[o] + Σ_{c,u,v} weight[o,c,u,v] x[n, c, i − padding + u dilation, …], for arrays
 * of the same height and width.
 *
 * @param x [N, C, H, W].
 * @param weight Of {@link winogradWeight}.
 * @param bias [O], or null.
 * @param y Output, [N, O, H, W].
 */
export function winogradCorrelate(
  { x, weight, bias, y }: {
    x: GpuArray;
    weight: GpuArray;
    bias: GpuArray | null;
    y: GpuArray;
  },
  { dilation, padding }: { dilation: number; padding: number },
): void {
  const { gpu } = x;
  const [images, inChannels, height, width] = x.shape as [number, number, number, number];
  const outChannels = y.shape[1] as number;
  const plane = { images, height, width, dilation, padding };
  byTiles(gpu, plane, Math.max(inChannels, outChannels), (range) => {
    const { tileQuads } = range;
    const columns = tileQuads * 4;
    const v = gpu.empty([PLACES, inChannels, columns], "transformed input");
    dispatch(
      inputKernel,
      { x, v },
      { ...range, channels: inChannels, channelQuads: 0, hasBias: 0 },
      inChannels * tileQuads,
    );
    const m = gpu.empty([PLACES, outChannels, columns], "transformed output");
    const sizes = { batch: PLACES, rows: outChannels, depth: inChannels, columns };
    multiply({ left: weight, right: v, bias: null, c: m }, { ...sizes, leftPerBatch: true });
    v.release();
    dispatch(
      outputKernel,
      { m, bias: bias ?? m, y },
      { ...range, channels: outChannels, channelQuads: 0, hasBias: bias ? 1 : 0 },
      outChannels * tileQuads,
    );
    m.release();
  });
}

/**
 * Parts of the sum over tiles: a power of two up to the {@link TILE_STEP} that any number of tiles
 * divides into.
 */
function splitsOf(gpu: Gpu, rows: number, columns: number): number {
  const invocations = PLACES * Math.ceil(rows / MULTIPLY_TILE.rows) * (columns / TILE_STEP);
  const bytes = PLACES * rows * columns * 4;
  let splits = 1;
  while (
    splits < TILE_STEP && splits * invocations < ENOUGH_PRODUCTS &&
    2 * splits * bytes <= gpu.maxBindingBytes
  ) splits *= 2;
  return splits;
}

/**
 * Gradient of {@link winogradCorrelate} to [O, C, 3, 3] weights.
 *
 * @param gradOutput [N, O, H, W].
 * @param x [N, C, H, W].
 * @param gradWeight Output, [O, C, 3, 3].
 * @param accumulate Whether to add to `gradWeight` instead of overwriting it.
 */
export function winogradWeightGradient(
  { gradOutput, x, gradWeight }: { gradOutput: GpuArray; x: GpuArray; gradWeight: GpuArray },
  { dilation, padding, accumulate }: { dilation: number; padding: number; accumulate: boolean },
): void {
  const { gpu } = x;
  const [images, channels, height, width] = x.shape as [number, number, number, number];
  const outChannels = gradOutput.shape[1] as number;
  const columns = wholeTiles(channels);
  const plane = { images, height, width, dilation, padding };
  byTiles(gpu, plane, wholeTiles(Math.max(channels, outChannels)), (range) => {
    const { tileQuads } = range;
    const byTile = (kernel: typeof tileInputKernel, x: GpuArray, padded: number) => {
      const v = gpu.empty([PLACES, tileQuads * 4, padded], "transformed by tile");
      const sizes = {
        ...range,
        channels: x.shape[1] as number,
        channelQuads: padded / 4,
        hasBias: 0,
      };
      dispatch(kernel, { x, v }, sizes, tileQuads * padded);
      return v;
    };
    const left = byTile(tileGradientKernel, gradOutput, Math.ceil(outChannels / 4) * 4);
    const right = byTile(tileInputKernel, x, columns);
    const splits = splitsOf(gpu, outChannels, columns);
    const m = gpu.empty([PLACES * splits, outChannels, columns], "parts of a weight gradient");
    const depth = (tileQuads * 4) / splits;
    const sizes = { batch: PLACES * splits, rows: outChannels, depth, columns };
    multiply({ left, right, bias: null, c: m }, { ...sizes, leftPerBatch: true });
    left.release();
    right.release();
    const channelQuads = columns / 4;
    dispatch(totalKernel, { m, gradWeight }, {
      channels,
      outChannels,
      channelQuads,
      splits,
      accumulate: accumulate || range.firstImage > 0 ? 1 : 0,
    }, outChannels * channelQuads);
    m.release();
  });
}
