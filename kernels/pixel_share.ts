// Which share of the pixels that count lies in a part of a batch; the formula is in the WGSL.

import { emptyTerms } from "./class_map.ts";
import {
  type AnyArray,
  defineKernel,
  dispatch,
  type GpuArray,
  sliceByImage,
} from "./runtime/mod.ts";
import { gatherRows } from "./peers.ts";
import source from "./pixel_share.wgsl" with { type: "text" };
import { weightedMean } from "./weighted_mean.ts";

const kernels = { labels: kernelOf(1), mask: kernelOf(0) } as const;

function kernelOf(labels: number) {
  return defineKernel({
    name: "pixel_share",
    file: "kernels/pixel_share.wgsl",
    source,
    entry: "share",
    reads: ["pixels"],
    writes: ["terms"],
    params: {
      images: "u32",
      plane: "u32",
      runs: "u32",
      first: "u32",
      count: "u32",
      classes: "u32",
      ignoreLabel: "u32",
    },
    constants: { LABELS: labels },
  });
}

/**
 * Which pixels count: labels below `classes` that are not `ignoreLabel`, or those that are not 0.
 */
export type PixelRule = "not zero" | { readonly classes: number; readonly ignoreLabel: number };

/**
 * The share of all pixels that count which lies in images `first` to `first + count`, of shape [];
 * 0 where no pixel counts. All pixels are those of all peers.
 *
 * @param pixels [N, H, W], labels or a mask.
 */
export function pixelShare(
  pixels: AnyArray,
  first: number,
  count: number,
  rule: PixelRule,
): GpuArray {
  const { gpu, gpu: { peers } } = pixels;
  if (!peers) return meanOf(termsOf(pixels, first, count, rule));
  // Counts are whole numbers, so their sums are exact, whichever device they come from.
  using rows = pixels.slice(first, count);
  using part = gpu.empty(rows.shape, pixels.label, pixels.dtype); // kernels bind no slice at any byte
  gpu.copy(rows, part);
  using inPart = pixelCount(part, rule);
  using inAll = pixelCount(pixels, rule);
  using pair = gpu.zeros([1, 2], "pixels that count");
  place(inAll, pair, 1);
  const pairs = gatherRows(pair);
  place(inPart, pairs, 2 * peers.rank);
  return meanOf(pairs);
}

function meanOf(terms: GpuArray): GpuArray {
  const { mean, weight } = weightedMean(terms);
  weight.release();
  return mean;
}

/** How many pixels count, of shape []. */
function pixelCount(pixels: AnyArray, rule: PixelRule): GpuArray {
  const { mean, weight } = weightedMean(termsOf(pixels, 0, 0, rule));
  mean.release();
  return weight;
}

function place(scalar: GpuArray, into: GpuArray, index: number): void {
  using element = into.stretch(4 * index, 1);
  scalar.gpu.copy(scalar, element);
}

/** Pairs (pixels that count in images `first` to `first + count`, pixels that count). */
function termsOf(pixels: AnyArray, first: number, count: number, rule: PixelRule): GpuArray {
  const [images = 0] = pixels.shape;
  const plane = pixels.size / Math.max(1, images);
  const { terms, runs } = emptyTerms(pixels, images, plane);
  const [kernel, { classes, ignoreLabel }] = rule === "not zero"
    ? [kernels.mask, { classes: 0, ignoreLabel: 0 }]
    : [kernels.labels, rule];
  sliceByImage([pixels], [terms], ([pixels], [terms], start) => {
    const images = terms.shape[0] as number;
    dispatch(
      kernel,
      { pixels, terms },
      { images, plane, runs, first: first - start, count, classes, ignoreLabel },
      images * runs,
    );
  });
  return terms;
}
