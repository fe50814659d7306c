// Which taps of a strided convolution meet which input coordinates, along one axis.

import type { Conv2dGeometry } from "./conv2d_shape.ts";

/**
 * The input coordinates `residue`, `residue + stride`, … along one axis, and the taps they meet.
 */
export interface Residue {
  /** The smallest coordinate. */
  readonly residue: number;
  /** How many coordinates there are. */
  readonly count: number;
  /** How many taps ever meet them: `firstTap`, `firstTap + tapStep`, … */
  readonly taps: number;
  /** The first of those taps. */
  readonly firstTap: number;
  /** Taps from one to the next. */
  readonly tapStep: number;
  /** The output coordinate at which `firstTap` meets `residue`. */
  readonly start: number;
  /** Output coordinates by which each further tap meets it earlier. */
  readonly spacing: number;
}

/**
 * Splits the input coordinates of one axis by their residue modulo the stride: output i reads input
 * i·stride − padding + tap·dilation, so each residue meets only every (stride / gcd)-th tap.
 */
export function residues(length: number, taps: number, geometry: Conv2dGeometry): Residue[] {
  const { stride, padding, dilation } = geometry;
  const divisor = greatestCommonDivisor(stride, dilation);
  const tapStep = stride / divisor;
  const found: Residue[] = [];
  for (let residue = 0; residue < Math.min(stride, length); residue++) {
    const offset = (tap: number) => residue + padding - tap * dilation;
    let firstTap = 0;
    while (firstTap < Math.min(taps, tapStep) && offset(firstTap) % stride !== 0) firstTap++;
    if (firstTap >= Math.min(taps, tapStep)) continue;
    found.push({
      residue,
      count: Math.ceil((length - residue) / stride),
      taps: Math.ceil((taps - firstTap) / tapStep),
      firstTap,
      tapStep,
      start: offset(firstTap) / stride,
      spacing: dilation / divisor,
    });
  }
  return found;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
