// Convolutions with 3 × 3 kernels at stride 1 by Winograd's algorithm; formulas in the WGSL.

import { type Conv2dGeometry, type Conv2dSizes, scratchBytes } from "./conv2d_shape.ts";
import { multiply, MULTIPLY_TILE } from "./matmul.ts";
import { dispatch, type Gpu, type GpuArray, type Ways } from "../runtime/mod.ts";
import source from "./winograd.wgsl" with { type: "text" };
import { WINOGRAD4 } from "./winograd4.ts";
import { type WinogradForm, winogradForm, type WinogradParams } from "./winograd_form.ts";

/** Tiles of 2 × 2 outputs. */
export const WINOGRAD2 = winogradForm(
  { file: "kernels/dense/winograd.wgsl", source },
  "winograd",
  { software: true },
);

/** `multiply` takes as many columns at a time, which must share their left operand. */
const TILE_STEP = MULTIPLY_TILE.columns;
/**
 * Blocks of outputs in the product for a weight gradient worth having: of invocations of the direct
 * class, and of workgroups of the shared one.
 */
const ENOUGH_BLOCKS = {
  direct: { ...MULTIPLY_TILE, blocks: 256 },
  shared: { rows: 128, columns: 128, blocks: 512 },
} as const;
/**
 * Cost of transforming one element at one place, in products there: measured on a software adapter,
 * and for GPUs reckoned from the 8 bytes by which it is written and read once more, and eight
 * products in the time of a byte.
 */
const TRANSFORM_COST = { direct: 18, shared: 64 } as const;
/**
 * Cost of a product for a weight gradient, in those of the kernels that it replaces: measured, and
 * for GPUs the same, as both are computed by the same tiles.
 */
const WEIGHT_COST = { direct: 1.3, shared: 1 } as const;

/** What tiles lie on. */
interface Plane {
  readonly height: number;
  readonly width: number;
  readonly dilation: number;
}

/** Tiles along both axes: those of every lattice, as many in each. */
function tileCounts(
  { side }: WinogradForm,
  { height, width, dilation }: Plane,
): { tileRows: number; tileColumns: number } {
  const along = (length: number) => dilation * Math.ceil(Math.ceil(length / dilation) / side);
  return { tileRows: along(height), tileColumns: along(width) };
}

/** Whether Winograd's algorithm can compute the convolution and its gradients. */
function winogradFits(form: WinogradForm, gpu: Gpu, sizes: Conv2dSizes): boolean {
  const { tapRows, tapColumns, stride, padding, dilation } = sizes;
  if (tapRows !== 3 || tapColumns !== 3 || stride !== 1 || padding !== dilation) return false;
  const { inChannels, outChannels, inHeight: height, inWidth: width } = sizes;
  const { tileRows, tileColumns } = tileCounts(form, { height, width, dilation });
  const channels = wholeTiles(Math.max(inChannels, outChannels));
  // Of channels × tiles and channels × channels.
  const most = Math.max(tileRows * tileColumns + TILE_STEP, channels);
  return form.places * channels * most * 4 <= gpu.maxBindingBytes;
}

/** The forms that pay; products of halves are not exact enough for the larger one. */
function formsOf(gpu: Gpu, { precision }: Conv2dSizes): readonly WinogradForm[] {
  return gpu.kernelClass === "shared" && precision === "f32" ? [WINOGRAD2, WINOGRAD4] : [WINOGRAD2];
}

/**
 * Which form of Winograd's algorithm to take, or null for the direct kernels, as a part of a
 * problem for `gpu.choices`.
 */
export function winogradChoice(
  gpu: Gpu,
  sizes: Conv2dSizes,
  what: "image" | "weight",
): Ways<WinogradForm | null> {
  const forms = formsOf(gpu, sizes).filter((form) => winogradFits(form, gpu, sizes));
  const candidates = new Map([
    ["direct", null],
    ...forms.map((form) => [form.name, form] as const),
  ]);
  const cost = (name: string) => productsOf(candidates.get(name) ?? null, gpu, sizes, what);
  const expected = [...candidates.keys()].reduce((a, b) => cost(b) < cost(a) ? b : a);
  return { candidates, expected, cost };
}

/**
 * Cost of the convolution or one of its gradients, in products for each image and pair of channels.
 * Winograd's algorithm saves 20 of 36 or 108 of 144 products, but transforms every channel, rounds
 * each lattice up to whole tiles, and cannot skip the taps of a large dilation that fall outside.
 */
function productsOf(
  form: WinogradForm | null,
  gpu: Gpu,
  sizes: Conv2dSizes,
  what: "image" | "weight",
): number {
  const { inChannels, outChannels, inHeight: height, inWidth: width, dilation } = sizes;
  if (!form) {
    const used = (length: number) => (length + 2 * Math.max(0, length - dilation)) / 3;
    return 9 * used(height) *
      (what === "image" ? width : used(width) / WEIGHT_COST[gpu.kernelClass]);
  }
  const { tileRows, tileColumns } = tileCounts(form, { height, width, dilation });
  const cost = TRANSFORM_COST[gpu.kernelClass];
  const transforms = cost / inChannels + cost / outChannels;
  return form.places * tileRows * tileColumns * (1 + transforms);
}

/** Columns of a product that {@link multiply} takes: a multiple of {@link TILE_STEP}. */
function wholeTiles(columns: number): number {
  return Math.ceil(columns / TILE_STEP) * TILE_STEP;
}

/** Images whose transforms fit one binding and the scratch, at least one. */
function imagesAtOnce(form: WinogradForm, gpu: Gpu, channels: number, tiles: number): number {
  const bytes = Math.min(gpu.maxBindingBytes, scratchBytes(gpu));
  return Math.max(1, Math.floor((bytes / (form.places * channels * 4) - TILE_STEP) / tiles));
}

/** What `byTiles` says of a range of images. */
type Range = Omit<
  WinogradParams,
  "channels" | "channelQuads" | "outChannels" | "outChannelQuads" | "hasBias"
>;

/** Calls `run` for ranges of images whose transforms fit, with the params of the range. */
function byTiles(
  form: WinogradForm,
  gpu: Gpu,
  plane: Plane & { readonly images: number; readonly padding: number },
  channels: number,
  run: (range: Range) => void,
): void {
  const { images, height, width, dilation, padding } = plane;
  const { tileRows, tileColumns } = tileCounts(form, plane);
  const step = imagesAtOnce(form, gpu, channels, tileRows * tileColumns);
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
 * @param weight Of `winogradWeight`.
 * @param bias [O], or null.
 * @param y Output, [N, O, H, W].
 * @param accumulate Whether to add to `y` instead of overwriting it (default false).
 */
export function winogradCorrelate(
  form: WinogradForm,
  { x, weight, bias, y, accumulate = false }: {
    readonly x: GpuArray;
    readonly weight: GpuArray;
    readonly bias: GpuArray | null;
    readonly y: GpuArray;
    readonly accumulate?: boolean;
  },
  { dilation, padding, precision = "f32" }: Omit<Conv2dGeometry, "stride">,
): void {
  const { gpu } = x;
  const [images, inChannels, height, width] = x.shape as [number, number, number, number];
  const outChannels = y.shape[1] as number;
  const { places, owned } = form;
  const plane = { images, height, width, dilation, padding };
  byTiles(form, gpu, plane, Math.max(inChannels, outChannels), (range) => {
    const columns = range.tileQuads * 4;
    const params = {
      ...range,
      channels: inChannels,
      channelQuads: 0,
      outChannels,
      outChannelQuads: 0,
      hasBias: bias ? 1 : 0,
    };
    const v = gpu.empty([places, inChannels, columns], "transformed input");
    dispatch(form.input, { x, v }, params, inChannels * columns / owned);
    const m = gpu.empty([places, outChannels, columns], "transformed output");
    const sizes = { batch: places, rows: outChannels, depth: inChannels, columns, precision };
    multiply({ left: weight, right: v, bias: null, c: m }, { ...sizes, leftPerBatch: true });
    v.release();
    const output = accumulate ? form.outputAdd : form.output;
    dispatch(output, { m, bias: bias ?? m, y }, params, outChannels * columns / owned);
    m.release();
  });
}

/**
 * Parts of the sum over tiles: a power of two up to the {@link TILE_STEP} that any number of tiles
 * divides into.
 */
function splitsOf({ places }: WinogradForm, gpu: Gpu, rows: number, columns: number): number {
  const enough = ENOUGH_BLOCKS[gpu.kernelClass];
  const blocks = places * Math.ceil(rows / enough.rows) * Math.ceil(columns / enough.columns);
  const bytes = places * rows * columns * 4;
  let splits = 1;
  while (
    splits < TILE_STEP && splits * blocks < enough.blocks &&
    2 * splits * bytes <= gpu.maxBindingBytes
  ) splits *= 2;
  return splits;
}

/** Transforms both operands of a weight gradient. */
function transformByTile(
  { byTile, byTileApart, places, owned }: WinogradForm,
  { x, gradY, v, t }: Record<"x" | "gradY" | "v" | "t", GpuArray>,
  params: WinogradParams,
): void {
  const [inputs, gradients] = [v.size / places / owned, t.size / places / owned];
  if (byTileApart && x.gpu.kernelClass === "direct") {
    dispatch(byTileApart.gradients, { gradY, t }, params, gradients);
    dispatch(byTileApart.inputs, { x, v }, params, inputs);
    return;
  }
  dispatch(byTile, { x, gradY, v, t }, params, inputs + gradients);
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
  form: WinogradForm,
  { gradOutput, x, gradWeight }: { gradOutput: GpuArray; x: GpuArray; gradWeight: GpuArray },
  { dilation, padding, precision = "f32", accumulate }:
    & Omit<Conv2dGeometry, "stride">
    & { readonly accumulate: boolean },
): void {
  const { gpu } = x;
  const [images, channels, height, width] = x.shape as [number, number, number, number];
  const outChannels = gradOutput.shape[1] as number;
  const { places, owned } = form;
  const rows = Math.ceil(outChannels / 4) * 4;
  const columns = wholeTiles(channels);
  const plane = { images, height, width, dilation, padding };
  byTiles(form, gpu, plane, wholeTiles(Math.max(channels, outChannels)), (range) => {
    const tiles = range.tileQuads * 4;
    const left = gpu.empty([places, tiles, rows], "transformed gradient by tile");
    const right = gpu.empty([places, tiles, columns], "transformed input by tile");
    transformByTile(form, { x, gradY: gradOutput, v: right, t: left }, {
      ...range,
      channels,
      channelQuads: columns / 4,
      outChannels,
      outChannelQuads: rows / 4,
      hasBias: 0,
    });
    const splits = splitsOf(form, gpu, outChannels, columns);
    const m = gpu.empty([places * splits, outChannels, columns], "parts of a weight gradient");
    multiply({ left, right, bias: null, c: m }, {
      batch: places * splits,
      rows: outChannels,
      depth: tiles / splits,
      columns,
      leftPerBatch: true,
      precision,
    });
    left.release();
    right.release();
    dispatch(form.total, { m, gradWeight }, {
      channels,
      outChannels,
      channelQuads: columns / 4,
      splits,
      accumulate: accumulate || range.firstImage > 0 ? 1 : 0,
    }, outChannels * columns / owned);
    m.release();
  });
}
