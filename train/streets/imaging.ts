/**
 * From linear colours to 8-bit pixels: fog, exposure, lens, response and sensor.
 *
 * @module
 */
import type { Canvas } from "./canvas.ts";
import type { Imaging, Rgb } from "./domains.ts";
import { cellHash, type StreetRandom } from "./random.ts";

/** Turns a painted canvas into RGB bytes (height · width · 3), as the domain's camera sees it. */
export function develop(
  random: StreetRandom,
  canvas: Canvas,
  imaging: Imaging,
): Uint8Array<ArrayBuffer> {
  const { width, height } = canvas;
  const warmth = random.range(imaging.warmth);
  const exposure = random.range(imaging.exposure);
  const gain: Rgb = [exposure * (1 + warmth), exposure, exposure * (1 - warmth)];
  const fogDepth = random.range(imaging.fogDepth), fog = random.range(imaging.fogValue);
  const vignetting = random.range(imaging.vignetting);
  const pixels = canvas.colour;
  for (let y = 0, at = 0; y < height; y++) {
    const down = 2 * (y + 0.5) / height - 1;
    for (let x = 0; x < width; x++, at++) {
      const across = 2 * (x + 0.5) / width - 1;
      const light = 1 - vignetting * (across * across + down * down) / 2;
      const through = 1 / (1 + canvas.depth[at] / fogDepth);
      for (let c = 0; c < 3; c++) {
        const seen = fog + (pixels[at * 3 + c] - fog) * through;
        pixels[at * 3 + c] = seen * gain[c] * light;
      }
    }
  }
  const weight = random.range(imaging.blur);
  for (let pass = 0; pass < 2; pass++) {
    blurAlong(pixels, height, width * 3, width, 3, weight);
    blurAlong(pixels, width, 3, height, width * 3, weight);
  }
  return expose(random, pixels, imaging);
}

/** Replaces every value by its average with both neighbours along one axis. */
function blurAlong(
  pixels: Float32Array,
  lines: number,
  lineStride: number,
  length: number,
  stride: number,
  weight: number,
): void {
  for (let line = 0; line < lines; line++) {
    for (let c = 0; c < 3; c++) {
      let at = line * lineStride + c;
      let before = pixels[at];
      for (let step = 0; step < length; step++, at += stride) {
        const here = pixels[at];
        const after = step + 1 < length ? pixels[at + stride] : here;
        pixels[at] = here + weight * (before + after - 2 * here);
        before = here;
      }
    }
  }
}

/** The response curve and the noise of the sensor. */
function expose(
  random: StreetRandom,
  pixels: Float32Array,
  imaging: Imaging,
): Uint8Array<ArrayBuffer> {
  const saturation = random.range(imaging.saturation);
  const lift = random.range(imaging.lift), contrast = random.range(imaging.contrast);
  const noise = random.range(imaging.noise), seed = random.bits();
  const bytes = new Uint8Array(pixels.length);
  for (let at = 0; at < pixels.length; at += 3) {
    const grey = 0.3 * pixels[at] + 0.59 * pixels[at + 1] + 0.11 * pixels[at + 2];
    for (let c = 0; c < 3; c++) {
      const value = lift + contrast * (grey + (pixels[at + c] - grey) * saturation);
      // The four bytes of a hash add up to something bell-shaped: 147.8 is its deviation.
      const bits = cellHash(at, c, seed);
      const sum = (bits & 255) + (bits >>> 8 & 255) + (bits >>> 16 & 255) + (bits >>> 24);
      const sigma = noise * Math.sqrt(0.15 + Math.max(0, value));
      const byte = (value + sigma * (sum - 510) / 147.8) * 255 + 0.5;
      bytes[at + c] = byte < 0 ? 0 : byte > 255 ? 255 : byte;
    }
  }
  return bytes;
}
