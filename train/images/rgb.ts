/**
 * Colours and images of 8 bits per channel.
 *
 * @module
 */

/** A red, green, blue triple of bytes. */
export type Colour = readonly [number, number, number];

/** An 8-bit colour image: 3 bytes (red, green, blue) per pixel, row by row. */
export interface RgbImage {
  /** `height · width · 3` bytes. */
  data: Uint8Array<ArrayBuffer>;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
}

/** Mean and standard deviation of each channel of an image, from 0 to 1. */
export interface ColourStatistics {
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/** Pixels that statistics are taken of. */
const MOST_PIXELS = 4096;

/** The statistics of an image: of thousands of pixels, spread over it. */
export function colourStatistics({ data, width, height }: RgbImage): ColourStatistics {
  // Odd steps go over all columns, whatever the width; one that divides it would see a few of them.
  const step = 3 * (Math.ceil(width * height / MOST_PIXELS) | 1);
  const channel = (offset: number) => {
    let [sum, squares, count] = [0, 0, 0];
    for (let at = offset; at < data.length; at += step, count++) {
      sum += data[at];
      squares += data[at] ** 2;
    }
    const mean = sum / count;
    return {
      mean: mean / 255,
      deviation: Math.sqrt(Math.max(0, squares / count - mean ** 2)) / 255,
    };
  };
  const [red, green, blue] = [channel(0), channel(1), channel(2)];
  return {
    mean: [red.mean, green.mean, blue.mean],
    deviation: [red.deviation, green.deviation, blue.deviation],
  };
}

/** The mean of an image over its channels, from 0 to 1. */
export function meanOf(image: RgbImage): number {
  const [red, green, blue] = colourStatistics(image).mean;
  return (red + green + blue) / 3;
}
