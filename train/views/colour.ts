/**
 * Changes of colour as matrices over (r, g, b, 1), with colours in 0 to 1.
 *
 * @module
 */
import type { ColourMatrix } from "../../kernels/warp.ts";
import type { ColourStatistics } from "../images/rgb.ts";

type Row = ColourMatrix[number];

/** What light weighs in the eye (ITU-R BT.601). */
const LUMA = [0.299, 0.587, 0.114] as const;

/** Times `factor`; 1 changes nothing. */
export function brightness(factor: number): ColourMatrix {
  return [[factor, 0, 0, 0], [0, factor, 0, 0], [0, 0, factor, 0]];
}

/** Away from the grey `middle` by `factor`; 1 changes nothing, 0 leaves that grey only. */
export function contrast(factor: number, middle = 0.5): ColourMatrix {
  const shift = middle * (1 - factor);
  return [[factor, 0, 0, shift], [0, factor, 0, shift], [0, 0, factor, shift]];
}

/** Away from the grey of the same luma by `factor`; 1 changes nothing, 0 leaves grey only. */
export function saturation(factor: number): ColourMatrix {
  const row = (own: number): Row => {
    const [r, g, b] = LUMA.map((weight, c) => (1 - factor) * weight + (c === own ? factor : 0));
    return [r, g, b, 0];
  };
  return [row(0), row(1), row(2)];
}

/**
 * Turns red towards green towards blue about the axis of greys, which stay (Rodrigues' rotation).
 */
export function hue(degrees: number): ColourMatrix {
  const angle = (degrees * Math.PI) / 180;
  const along = (1 - Math.cos(angle)) / 3;
  const across = Math.sin(angle) / Math.sqrt(3);
  const own = along + Math.cos(angle);
  const [before, after] = [along - across, along + across];
  return [[own, before, after, 0], [after, own, before, 0], [before, after, own, 0]];
}

/** Most by which a transfer spreads a channel: more would show noise. */
const MOST_GAIN = 3;

/**
 * Gives an image the colours of another: each channel the other's mean and standard deviation,
 *
 *   x ↦ (x − μ_from) · min(3, σ_to / σ_from) + μ_to
 *
 * (Reinhard, Ashikhmin, Gooch and Shirley, IEEE Computer Graphics and Applications 21(5), 2001; there
 * between decorrelated channels).
 */
export function transferColours(from: ColourStatistics, to: ColourStatistics): ColourMatrix {
  const row = (channel: 0 | 1 | 2): Row => {
    const spread = to.deviation[channel] / from.deviation[channel];
    const gain = Math.min(MOST_GAIN, Number.isFinite(spread) ? spread : 1); // of one colour all over
    const row: [number, number, number, number] = [0, 0, 0, 0];
    row[channel] = gain;
    row[3] = to.mean[channel] - gain * from.mean[channel];
    return row;
  };
  return [row(0), row(1), row(2)];
}

/** `outer` after `inner`. */
export function composeColours(outer: ColourMatrix, inner: ColourMatrix): ColourMatrix {
  const row = ([r, g, b, one]: Row): Row => {
    const sums = [0, 1, 2, 3].map((c) => r * inner[0][c] + g * inner[1][c] + b * inner[2][c]);
    return [sums[0], sums[1], sums[2], sums[3] + one];
  };
  return [row(outer[0]), row(outer[1]), row(outer[2])];
}
