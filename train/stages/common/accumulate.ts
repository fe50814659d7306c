// Gradient accumulation: a step whose batch is learnt in parts that fit the memory.
//
// Losses are means over pixels that count, so a part weighs as much as its share of them: the sum over
// parts is the mean over the batch, and so are the gradients. What a network computes across images is
// of the part it sees: the batch statistics of its norms, above all.

import { addInPlace } from "../../../kernels/elementwise.ts";
import { type PixelRule, pixelShare } from "../../../kernels/pixel_share.ts";
import { type AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import { mul, scale } from "../../../nn/functional/elementwise.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { input } from "../../../nn/tape.ts";
import { releaseBatch } from "./batch.ts";
import type { Losses } from "./stage.ts";

/**
 * Calls `use` with each of `count` equal parts of a batch, in order, and frees the part.
 *
 * @param batch Arrays [N, ...] and lists of N things, in plain objects.
 * @throws {RangeError} If the images do not divide into so many parts.
 */
export function byParts<B, R>(
  batch: B,
  count: number,
  use: (part: B, index: number) => R,
): R[] {
  return Array.from({ length: count }, (_, index) => {
    const part = partOf(batch, index, count) as B;
    const result = use(part, index);
    releaseBatch(part);
    return result;
  });
}

function partOf(batch: unknown, index: number, count: number): unknown {
  if (batch instanceof GpuArray) {
    const length = partLength(batch.shape[0], count);
    const rows = batch.slice(index * length, length);
    if (rows.byteOffset % batch.gpu.offsetAlignment === 0) return rows;
    const moved = batch.gpu.empty(rows.shape, batch.label, batch.dtype);
    batch.gpu.copy(rows, moved);
    rows.release();
    return moved;
  }
  if (Array.isArray(batch)) {
    const length = partLength(batch.length, count);
    return batch.slice(index * length, (index + 1) * length);
  }
  if (batch === null || typeof batch !== "object") return batch;
  return Object.fromEntries(
    Object.entries(batch).map(([name, value]) => [name, partOf(value, index, count)]),
  );
}

function partLength(images: number | undefined, count: number): number {
  const length = (images ?? 0) / count;
  if (!Number.isInteger(length)) {
    throw new RangeError(
      `Cannot accumulate a step of ${images} images in ${count} parts: expected a number of parts ` +
        "that divides the images; change one of them",
    );
  }
  return length;
}

/**
 * Joins what was made of the parts of a batch: arrays along their first axis.
 *
 * @param parts Plain objects of arrays or null; they pass to this function.
 */
export function joined<T extends Readonly<Record<string, AnyArray | null>>>(
  parts: readonly T[],
): T {
  const [first] = parts;
  if (!first) throw new RangeError("Cannot join the parts of a batch as there are none");
  if (parts.length === 1) return first;
  const whole = Object.keys(first).map((name) => {
    const arrays = parts.flatMap((part) => part[name] ?? []);
    return [name, arrays.length > 0 ? joinedRows(arrays) : null];
  });
  releaseBatch(parts);
  return Object.fromEntries(whole);
}

function joinedRows(arrays: readonly AnyArray[]): AnyArray {
  const [{ gpu, shape: [, ...rest], label, dtype }] = arrays as [AnyArray];
  const rows = arrays.reduce((sum, { shape: [count = 0] }) => sum + count, 0);
  const whole = gpu.empty([rows, ...rest], label, dtype);
  let first = 0;
  for (const array of arrays) {
    const [count = 0] = array.shape;
    using place = whole.slice(first, count);
    gpu.copy(array, place);
    first += count;
  }
  return whole;
}

/** How much of a mean a part makes out: a factor, or a scalar on the GPU. */
export type Share = number | GpuArray;

/**
 * The shares of `count` equal parts of a batch in the pixels that count. Release them.
 *
 * @param pixels Labels or a mask of the whole batch, [N, H, W].
 */
export function sharesOf(pixels: AnyArray, count: number, rule: PixelRule): Share[] {
  if (count === 1) return [1];
  const length = partLength(pixels.shape[0], count);
  return Array.from(
    { length: count },
    (_, index) => pixelShare(pixels, index * length, length, rule),
  );
}

/** A loss times the share of its part. */
export function weighed(loss: Tensor, share: Share): Tensor {
  if (share === 1) return loss;
  return typeof share === "number" ? scale(loss, share) : mul(loss, input(share));
}

/** Sums of the losses of parts; takes over the parts'. */
export function addedLosses<L extends Losses>(parts: readonly L[]): L {
  const [sums, ...others] = parts;
  if (!sums) throw new RangeError("Cannot add the losses of parts as there are none");
  for (const part of others) {
    for (const [name, sum] of Object.entries(sums)) addInPlace(sum, part[name] as GpuArray);
    releaseBatch(part);
  }
  return sums;
}
