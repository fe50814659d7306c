// Views of images, labels and maps: crop, resize, flip and affine in one sampling. The formulas are
// in the WGSL.

import { IGNORE } from "./ignore_label.ts";
import { checkLabels, type LabelRange } from "./labels.ts";
import { checkSize, imageSizes, labelSizes, type Size } from "./planes.ts";
import {
  type AnyArray,
  defineKernel,
  dispatch,
  type DType,
  type Gpu,
  type GpuArray,
  type Kernel,
  sliceByImage,
} from "./runtime/mod.ts";
import { structFields } from "./runtime/wgsl.ts";
import source from "./warp.wgsl" with { type: "text" };

const shared = {
  file: "kernels/warp.wgsl",
  source,
  params: {
    pixels: "u32",
    outputHeight: "u32",
    outputWidth: "u32",
    channels: "u32",
    rowWords: "u32",
    ignoreLabel: "u32",
  },
} as const;
/** Numbers of one `View`, whose fields are vectors of four. */
const VIEW_FLOATS = 4 * structFields(shared, "View").length;
const images = defineKernel({
  ...shared,
  name: "warp.images",
  entry: "images",
  reads: ["views", "packedImages"],
  writes: ["y"],
});
const labels = defineKernel({
  ...shared,
  name: "warp.labels",
  entry: "labels",
  reads: ["views", "packedLabels"],
  writes: ["ids"],
});
const maps = defineKernel({
  ...shared,
  name: "warp.maps",
  entry: "maps",
  reads: ["views", "x"],
  writes: ["y"],
});
const nearestMaps = defineKernel({
  ...shared,
  name: "warp.nearest_maps",
  entry: "nearest_maps",
  reads: ["views", "x"],
  writes: ["y"],
});
const colourMaps = defineKernel({
  ...shared,
  name: "warp.colour_maps",
  entry: "colour_maps",
  reads: ["views", "x"],
  writes: ["y"],
});
const labelMaps = defineKernel({
  ...shared,
  name: "warp.label_maps",
  entry: "label_maps",
  reads: ["views", "labelIds"],
  writes: ["ids"],
});
const mask = defineKernel({
  ...shared,
  name: "warp.mask",
  entry: "mask",
  reads: ["views"],
  writes: ["y"],
});

/**
 * An affine map of the plane, [a, b, c, d, e, f]: (x, y) goes to (a x + b y + c, d x + e y + f).
 * Places are in pixels; the centre of the top left one is (0, 0).
 */
export type AffineMatrix = readonly [number, number, number, number, number, number];

/** What becomes of a colour in 0 to 1: rows for red, green and blue, each over (r, g, b, 1). */
export type ColourMatrix = readonly [
  red: readonly [number, number, number, number],
  green: readonly [number, number, number, number],
  blue: readonly [number, number, number, number],
];

/** How one output image looks at its input. */
export interface WarpView {
  /** From a pixel of the output to its place in the input. */
  readonly matrix: AffineMatrix;
  /** Change of colours, clamped to 0 to 1; none unless given. */
  readonly colour?: ColourMatrix | null;
  /** From a pixel of the output to the unit square that is cut out; none unless given. */
  readonly cutout?: AffineMatrix | null;
  /** What unseen pixels of images and maps hold; 0 unless given. */
  readonly fill?: number;
}

/** Pixels of any size on the host, row by row. */
export interface HostPixels extends Size {
  /** One byte per label, or three (red, green, blue) per pixel. */
  readonly data: Uint8Array;
}

/** Bytes of differently sized images in one array on the GPU: 3 per pixel (RGB), or 1 (labels). */
export class Packed<BytesPerPixel extends 1 | 3> implements Disposable {
  /** Four bytes in a word; a row for each image, as long as the largest image needs. */
  readonly words: GpuArray<"u32">;
  /** The images' own sizes. */
  readonly sizes: readonly Size[];
  /** Bytes per pixel. */
  readonly bytesPerPixel: BytesPerPixel;

  /** Use {@link packImages} or {@link packLabels}. */
  constructor(words: GpuArray<"u32">, sizes: readonly Size[], bytesPerPixel: BytesPerPixel) {
    this.words = words;
    this.sizes = sizes;
    this.bytesPerPixel = bytesPerPixel;
  }

  /** Gives the memory back. */
  release(): void {
    this.words.release();
  }

  /** Same as {@link Packed.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Uploads RGB images of any sizes, three bytes per pixel.
 *
 * @throws {TypeError} If the number of bytes is not that of the size.
 * @throws {RangeError} If an image is empty.
 */
export function packImages(gpu: Gpu, images: readonly HostPixels[]): Packed<3> {
  return pack(gpu, images, 3);
}

/**
 * Uploads label maps of any sizes, one byte per pixel.
 *
 * @param range Which labels there may be; any unless given.
 * @throws {TypeError} If the number of bytes is not that of the size.
 * @throws {RangeError} If a map is empty, or has a label out of range.
 */
export function packLabels(
  gpu: Gpu,
  labels: readonly HostPixels[],
  range?: LabelRange,
): Packed<1> {
  if (range) labels.forEach(({ data }, index) => checkLabels(data, range, `label map ${index}`));
  return pack(gpu, labels, 1);
}

function pack<B extends 1 | 3>(
  gpu: Gpu,
  pixels: readonly HostPixels[],
  bytesPerPixel: B,
): Packed<B> {
  for (const { data, height, width } of pixels) {
    checkSize("a warp of this image", { height, width });
    if (data.length !== height * width * bytesPerPixel) {
      throw new TypeError(
        `Cannot pack an image of ${width}×${height} pixels as it must have ${
          height * width * bytesPerPixel
        } bytes, ${bytesPerPixel} per pixel: it has ${data.length}`,
      );
    }
  }
  const longest = Math.max(0, ...pixels.map(({ data }) => data.length));
  // A word to spare, as the last pixel is read with its successor; whole units of the offset
  // alignment, so that rows can be bound where they lie.
  const unit = gpu.offsetAlignment;
  const rowBytes = Math.ceil((longest + 4) / unit) * unit;
  const bytes = new Uint8Array(pixels.length * rowBytes);
  pixels.forEach(({ data }, index) => bytes.set(data, index * rowBytes));
  const words = new Uint32Array(bytes.buffer);
  const array = gpu.upload(words, [pixels.length, rowBytes / 4], "packed images");
  return new Packed(array, pixels.map(({ height, width }) => ({ height, width })), bytesPerPixel);
}

/**
 * Views of packed images, bilinear, [N, 3, height, width] in 0 to 1.
 *
 * @param views One for each image.
 * @throws {TypeError} If there is another number of views.
 * @throws {RangeError} If a view holds a number that is not finite, or the size is empty.
 */
export function warpImages(
  { words, sizes }: Packed<3>,
  views: readonly WarpView[],
  size: Size,
): GpuArray {
  const numbers = viewNumbers(views, sizes);
  return run(images, numbers, [words], emptyViews(words.gpu, [sizes.length, 3], size, "f32"));
}

/**
 * Views of packed labels, nearest, [N, height, width].
 *
 * @param views One for each label map.
 * @param ignoreLabel What unseen pixels get.
 * @throws {TypeError} If there is another number of views.
 * @throws {RangeError} If a view holds a number that is not finite, or the size is empty.
 */
export function warpLabels(
  { words, sizes }: Packed<1>,
  views: readonly WarpView[],
  size: Size,
  ignoreLabel = IGNORE,
): GpuArray<"u32"> {
  const numbers = viewNumbers(views, sizes);
  const ids = emptyViews(words.gpu, [sizes.length], size, "u32");
  return run(labels, numbers, [words], ids, ignoreLabel);
}

/**
 * Views of maps or float images, bilinear, [N, C, height, width].
 *
 * @param x [N, C, H, W].
 * @param views One for each image; only three channels have colours to change.
 * @throws {TypeError} If `x` has another number of axes, there is another number of views, or one
 *   changes colours where there are not three channels.
 * @throws {RangeError} If a view holds a number that is not finite, or a size is empty.
 */
export function warpMaps(x: GpuArray, views: readonly WarpView[], size: Size): GpuArray {
  const { images, channels, ...inputSize } = imageSizes("warp.maps", x);
  const coloured = views.some(({ colour }) => colour);
  if (coloured && channels !== 3) {
    throw new TypeError(
      `Cannot change the colours of "${x.label}" as it must have 3 channels: it has ${channels}`,
    );
  }
  const numbers = viewNumbers(views, Array<Size>(images).fill(inputSize));
  const y = emptyViews(x.gpu, [images, channels], size, "f32");
  return run(coloured ? colourMaps : maps, numbers, [x], y);
}

/**
 * Views of maps, nearest, [N, C, height, width].
 *
 * @param x [N, C, H, W].
 * @param views One for each image, without a change of colours.
 * @throws {TypeError} If `x` has another number of axes, or there is another number of views.
 * @throws {RangeError} If a view holds a number that is not finite, or a size is empty.
 */
export function warpNearestMaps(x: GpuArray, views: readonly WarpView[], size: Size): GpuArray {
  const { images, channels, ...inputSize } = imageSizes("warp.nearest_maps", x);
  const numbers = viewNumbers(views, Array<Size>(images).fill(inputSize));
  return run(nearestMaps, numbers, [x], emptyViews(x.gpu, [images, channels], size, "f32"));
}

/**
 * Views of label maps, nearest, [N, height, width].
 *
 * @param labelIds [N, H, W].
 * @param views One for each label map.
 * @param ignoreLabel What unseen pixels get.
 * @throws {TypeError} If `labelIds` has another number of axes, or there is another number of
 *   views.
 * @throws {RangeError} If a view holds a number that is not finite, or a size is empty.
 */
export function warpLabelMaps(
  labelIds: GpuArray<"u32">,
  views: readonly WarpView[],
  size: Size,
  ignoreLabel = IGNORE,
): GpuArray<"u32"> {
  const { images, ...inputSize } = labelSizes("warp.label_maps", labelIds);
  const numbers = viewNumbers(views, Array<Size>(images).fill(inputSize));
  const ids = emptyViews(labelIds.gpu, [images], size, "u32");
  return run(labelMaps, numbers, [labelIds], ids, ignoreLabel);
}

/**
 * Which pixels of a view are seen: 1 where the place lies in the input and is not cut out, else 0.
 *
 * @param inputSize Size of what the views look at.
 * @returns [N, height, width].
 * @throws {RangeError} If a view holds a number that is not finite, or a size is empty.
 */
export function warpMask(
  gpu: Gpu,
  views: readonly WarpView[],
  inputSize: Size,
  size: Size,
): GpuArray {
  const numbers = viewNumbers(views, Array<Size>(views.length).fill(inputSize));
  return run(mask, numbers, [], emptyViews(gpu, [views.length], size, "f32"));
}

const NO_COLOUR: ColourMatrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]];
const NO_CUTOUT: AffineMatrix = [0, 0, -1, 0, 0, -1];

/** The `View`s of the WGSL, one for each image. */
function viewNumbers(views: readonly WarpView[], sizes: readonly Size[]): Float32Array {
  if (views.length !== sizes.length) {
    throw new TypeError(
      `Cannot warp ${sizes.length} images with ${views.length} views: give one for each image`,
    );
  }
  const rows = views.map(({ matrix, colour, cutout, fill = 0 }, index) => {
    const { height, width } = sizes[index];
    checkSize("a warp of this input", { height, width });
    const [red, green, blue] = colour ?? NO_COLOUR;
    const cut = cutout ?? NO_CUTOUT;
    return [
      [...matrix.slice(0, 3), width],
      [...matrix.slice(3), height],
      [...cut.slice(0, 3), fill],
      [...cut.slice(3), 0],
      ...[red, green, blue],
    ].flat();
  });
  const numbers = Float32Array.from(rows.flat());
  if (!numbers.every(Number.isFinite)) {
    throw new RangeError("Cannot warp as a view holds a number that is not finite in 32 bits");
  }
  return numbers;
}

function emptyViews<D extends DType>(
  gpu: Gpu,
  leading: readonly number[],
  size: Size,
  dtype: D,
): GpuArray<D> {
  checkSize("a warp", size);
  return gpu.empty([...leading, size.height, size.width], "views", dtype);
}

/** Runs a kernel on views, and on the pixels that they look at where it takes any. */
function run<D extends DType>(
  kernel: Kernel<string, keyof typeof shared.params>,
  numbers: Float32Array,
  pixels: readonly AnyArray[],
  output: GpuArray<D>,
  ignoreLabel = 0,
): GpuArray<D> {
  const [outputHeight = 0, outputWidth = 0] = output.shape.slice(-2);
  const [count = 0] = output.shape;
  using views = output.gpu.upload(numbers, [count, VIEW_FLOATS], "views");
  sliceByImage([views, ...pixels], [output], (inputs, [output]) => {
    const bound = [...inputs, output];
    const arrays = Object.fromEntries(kernel.arrays.map(({ name }, i) => [name, bound[i]]));
    const [images = 0, channels = 0] = output.shape;
    const params = {
      pixels: images * outputHeight * outputWidth,
      outputHeight,
      outputWidth,
      channels,
      rowWords: inputs[1]?.shape[1] ?? 0,
      ignoreLabel,
    };
    dispatch(kernel, arrays, params, params.pixels);
  });
  return output;
}
