/**
 * Views of 8-bit images on the host, by the same rules as kernels/warp.wgsl: bilinear, four taps
 * clamped to the image, unseen where the place is nearest to no pixel.
 *
 * @module
 */
import type { Size } from "../../kernels/planes.ts";
import type { AffineMatrix } from "../../kernels/warp.ts";
import type { RgbImage } from "../images/rgb.ts";

/** What unseen pixels hold. */
export const FILL_BYTE = 127;

/**
 * Samples an image once, and rounds to the nearest whole numbers.
 *
 * @param matrix From a pixel of the view to its place in the image.
 * @param size Size of the view.
 */
export function renderView(
  { data, width, height }: RgbImage,
  [a, b, c, d, e, f]: AffineMatrix,
  size: Size,
): RgbImage {
  const view = new Uint8Array(3 * size.width * size.height).fill(FILL_BYTE);
  for (let y = 0, at = 0; y < size.height; y++) {
    for (let x = 0; x < size.width; x++, at += 3) {
      const column = a * x + b * y + c;
      const row = d * x + e * y + f;
      if (!(column >= -0.5 && column < width - 0.5 && row >= -0.5 && row < height - 0.5)) continue;
      const left = Math.floor(Math.max(column, 0));
      const top = Math.floor(Math.max(row, 0));
      const right = Math.max(column, 0) - left;
      const bottom = Math.max(row, 0) - top;
      const topLeft = 3 * (top * width + left);
      const toRight = left + 1 < width ? 3 : 0;
      const toBottom = top + 1 < height ? 3 * width : 0;
      for (let channel = 0; channel < 3; channel++) {
        const i = topLeft + channel;
        const above = data[i] + (data[i + toRight] - data[i]) * right;
        const j = i + toBottom;
        const below = data[j] + (data[j + toRight] - data[j]) * right;
        view[at + channel] = above + (below - above) * bottom + 0.5;
      }
    }
  }
  return { data: view, width: size.width, height: size.height };
}
