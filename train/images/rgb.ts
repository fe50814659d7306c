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

/** Pixels that a mean is taken of. */
const MOST_PIXELS = 4096;

/** The mean of an image over its channels, from 0 to 1: of thousands of pixels, spread over it. */
export function meanOf({ data, width, height }: RgbImage): number {
  // Odd steps go over all columns, whatever the width; one that divides it would see a few of them.
  const step = 3 * (Math.ceil(width * height / MOST_PIXELS) | 1);
  let [sum, count] = [0, 0];
  for (let at = 0; at < data.length; at += step, count += 3) {
    sum += data[at] + data[at + 1] + data[at + 2];
  }
  return sum / count / 255;
}
