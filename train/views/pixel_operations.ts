/**
 * Changes of an 8-bit image's colours, equal to Pillow's `ImageOps` and `ImageEnhance` in every
 * bit: what the published augmentations were made with.
 *
 * @module
 */
import type { RgbImage } from "../images/rgb.ts";

/**
 * A change of colours. A `factor` below 1 leaves that share of the image in what it is mixed with.
 */
export type PixelOperation =
  /** Stretches every channel to the whole range. */
  | { readonly kind: "autoContrast" }
  /** Spreads every channel's values evenly over the range. */
  | { readonly kind: "equalize" }
  /** Mixes with black. */
  | { readonly kind: "brightness"; readonly factor: number }
  /** Mixes with the grey image. */
  | { readonly kind: "colour"; readonly factor: number }
  /** Mixes with the mean of the grey image. */
  | { readonly kind: "contrast"; readonly factor: number }
  /** Mixes with a smoothed image; the outermost pixels stay. */
  | { readonly kind: "sharpness"; readonly factor: number }
  /** Keeps the upper bits. */
  | { readonly kind: "posterize"; readonly bits: number }
  /** Inverts values from a threshold on. */
  | { readonly kind: "solarize"; readonly threshold: number };

/** The image with its colours changed; the one given stays as it is. */
export function changeColours(image: RgbImage, operation: PixelOperation): RgbImage {
  switch (operation.kind) {
    case "autoContrast":
      return lookUp(image, histograms(image).map(stretched));
    case "equalize":
      return lookUp(image, histograms(image).map(equalized));
    case "brightness":
      return blend(image, () => 0, operation.factor);
    case "colour":
      return blend(image, greyAt(image), operation.factor);
    case "contrast": {
      const mean = meanGrey(image);
      return blend(image, () => mean, operation.factor);
    }
    case "sharpness":
      return blend(image, smoothAt(image), operation.factor);
    case "posterize": {
      const mask = 256 - 2 ** (8 - operation.bits);
      return lookUp(image, [table((value) => value & mask)]);
    }
    case "solarize":
      return lookUp(image, [
        table((value) => value < operation.threshold ? value : 255 - value),
      ]);
  }
}

/** What becomes of every value. */
function table(change: (value: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, value) => change(value));
}

const UNCHANGED = table((value) => value);

/** Changes values by a table per channel, or one for all. */
function lookUp({ data, width, height }: RgbImage, tables: readonly Uint8Array[]): RgbImage {
  const [red, green = red, blue = red] = tables as [Uint8Array, Uint8Array?, Uint8Array?];
  const changed = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    changed[i] = red[data[i]];
    changed[i + 1] = green[data[i + 1]];
    changed[i + 2] = blue[data[i + 2]];
  }
  return { data: changed, width, height };
}

/** How often every value is there, by channel. */
function histograms({ data }: RgbImage): Uint32Array[] {
  const [red, green, blue] = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)];
  for (let i = 0; i < data.length; i += 3) {
    red[data[i]]++;
    green[data[i + 1]]++;
    blue[data[i + 2]]++;
  }
  return [red, green, blue];
}

function stretched(histogram: Uint32Array): Uint8Array {
  const isThere = (count: number) => count > 0;
  const [least, most] = [histogram.findIndex(isThere), histogram.findLastIndex(isThere)];
  if (most <= least) return UNCHANGED;
  // Scale and offset are each rounded, as in Pillow: the brightest value may become 254.
  const scale = 255 / (most - least);
  const offset = -least * scale;
  return table((value) => Math.min(255, Math.max(0, Math.trunc(value * scale + offset))));
}

function equalized(histogram: Uint32Array): Uint8Array {
  const counts = histogram.filter((count) => count > 0);
  const pixels = counts.reduce((sum, count) => sum + count, 0);
  const step = Math.floor((pixels - (counts.at(-1) ?? 0)) / 255);
  if (counts.length <= 1 || step === 0) return UNCHANGED;
  let below = Math.floor(step / 2);
  return table((value) => {
    const rank = Math.min(255, Math.floor(below / step));
    below += histogram[value];
    return rank;
  });
}

/**
 * Mixes every byte with what `other` says about it, in single precision and truncated, as Pillow
 * does.
 */
function blend(
  { data, width, height }: RgbImage,
  other: (index: number) => number,
  factor: number,
): RgbImage {
  const share = Math.fround(factor);
  const mixed = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const from = other(i);
    mixed[i] = Math.fround(from + Math.fround(share * (data[i] - from)));
  }
  return { data: mixed, width, height };
}

/** The grey (ITU-R BT.601) of the pixel that a byte belongs to. */
function greyAt({ data }: RgbImage): (index: number) => number {
  return (index) => {
    const i = index - index % 3;
    return (19595 * data[i] + 38470 * data[i + 1] + 7471 * data[i + 2] + 0x8000) >> 16;
  };
}

function meanGrey(image: RgbImage): number {
  const grey = greyAt(image);
  let sum = 0;
  for (let i = 0; i < image.data.length; i += 3) sum += grey(i);
  return Math.floor(sum / (image.data.length / 3) + 0.5);
}

/** The mean of nine neighbours, of which the pixel itself counts five times. */
function smoothAt({ data, width, height }: RgbImage): (index: number) => number {
  const row = 3 * width;
  const last = data.length - row;
  return (index) => {
    const column = index % row;
    if (height < 3 || index < row || index >= last || column < 3 || column >= row - 3) {
      return data[index];
    }
    const [above, below] = [index - row, index + row];
    const sum = data[above - 3] + data[above] + data[above + 3] +
      data[index - 3] + 5 * data[index] + data[index + 3] +
      data[below - 3] + data[below] + data[below + 3];
    return Math.floor((sum + 6.5) / 13); // the nearest whole number: thirteenths are never halfway
  };
}
