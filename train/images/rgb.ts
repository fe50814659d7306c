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
