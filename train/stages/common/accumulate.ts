// Gradient accumulation: a batch is learnt in parts that fit the memory.
//
// Losses are means over pixels that count, so a part weighs as much as its share of them: the sum over
// parts is the mean over the batch, and so are the gradients. What a network computes across images is
// of the part it sees: the batch statistics of its norms, above all.
//
// The images of peers, other processes that learn the same batch, are further parts of it: shares are of
// all, and optimisers add up the gradients.
//
// A stage says in a `Pass` what is to be done with images; how many parts there are is known here alone.

import { addInPlace } from "../../../kernels/elementwise.ts";
import { type PixelRule, pixelShare } from "../../../kernels/pixel_share.ts";
import { type AnyArray, type DType, GpuArray } from "../../../kernels/runtime/mod.ts";
import { mul, scale } from "../../../nn/functional/elementwise.ts";
import { input } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { releaseBatch } from "./batch.ts";

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
    const items = batch.slice(index * length, (index + 1) * length);
    return items.map((item) => item instanceof GpuArray ? item.retain() : item);
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

/** Arrays one below the other, along their first axis; they stay the caller's. */
export function joinedRows<D extends DType>(arrays: readonly GpuArray<D>[]): GpuArray<D> {
  const [{ gpu, shape: [, ...rest], label, dtype }] = arrays as [GpuArray<D>];
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

/** A loss times the share of its part. */
export function weighed(loss: Tensor, share: Share): Tensor {
  if (share === 1) return loss;
  return typeof share === "number" ? scale(loss, share) : mul(loss, input(share));
}

/** Pixels that a loss is a mean over: those of labels or of a mask, [N, H, W], that fit the rule. */
export interface Counted {
  /** Labels or a mask. */
  readonly pixels: AnyArray;
  /** Which of them count. */
  readonly rule: PixelRule;
}

/** Arrays by name; null for one that is not there. */
export type Arrays = Readonly<Record<string, AnyArray | null>>;

/**
 * What a step does with a batch of one domain.
 *
 * @typeParam B The batch: arrays [N, ...] and lists of N things, in plain objects.
 * @typeParam P What is prepared.
 * @typeParam C Names of what losses are means over.
 * @typeParam R What learning returns.
 */
export interface Pass<B, P extends Arrays, C extends string, R extends Arrays> {
  /** Works out what learning goes by, such as labels; for all images before any is learnt. */
  prepare?(images: B): P;
  /** What losses are means over, beside the images; null for all pixels. */
  counted?(batch: B & P): Readonly<Record<C, Counted | null>>;
  /**
   * Adds gradients. Each loss is to be {@link weighed} by the share of these images in what it is a mean
   * over; `images` is their share in the number of images.
   *
   * @returns Losses, as scalars, and arrays [N, ...] to keep.
   */
  learn(images: B & P, shares: Readonly<Record<C | "images", Share>>): R;
  /** Sees what was prepared, of the whole batch, once all of it is learnt. */
  conclude?(prepared: P): void;
}

/**
 * Takes a batch through a pass, in parts.
 *
 * @param parts How many; they divide the images of the batch.
 * @param peers How many processes learn a batch together, of which this one has equally many images.
 * @returns What learning returned: losses are added up, arrays joined. The caller's to release. With
 *   peers, losses of the whole batch are the sums of theirs.
 * @throws {RangeError} If the images do not divide into so many parts.
 */
export function learnInParts<
  B extends object,
  P extends Arrays,
  C extends string,
  R extends Arrays,
>(
  batch: B,
  parts: number,
  pass: Pass<B, P, C, R>,
  peers = 1,
): R {
  const prepared = pass.prepare
    ? joined(byParts(batch, parts, (part) => pass.prepare?.(part) as P))
    : {} as P;
  const whole = { ...batch, ...prepared };
  const counted: Readonly<Record<string, Counted | null>> = pass.counted?.(whole) ?? {};
  const shares = sharesOfParts(counted, parts, peers);
  const learnt = byParts(
    whole,
    parts,
    (part, index) => pass.learn(part, shares[index] as Record<C | "images", Share>),
  );
  pass.conclude?.(prepared);
  releaseBatch([prepared, shares]);
  return putTogether(learnt);
}

/** The shares of equal parts of a batch in what losses are means over, by part. */
function sharesOfParts(
  counted: Readonly<Record<string, Counted | null>>,
  parts: number,
  peers: number,
): Record<string, Share>[] {
  const images = 1 / (parts * peers);
  return Array.from({ length: parts }, (_, index) => {
    const shares = Object.entries(counted).map(([name, pixels]): [string, Share] => {
      if (parts * peers === 1 || !pixels) return [name, images];
      const length = partLength(pixels.pixels.shape[0], parts);
      return [name, pixelShare(pixels.pixels, index * length, length, pixels.rule)];
    });
    return { ...Object.fromEntries(shares), images };
  });
}

/** Adds up scalars and joins other arrays of parts; takes them over. */
function putTogether<R extends Arrays>(parts: readonly R[]): R {
  const [first, ...others] = parts as [R];
  if (others.length === 0) return first;
  const whole = Object.entries(first).map(([name, array]) => {
    const arrays = parts.flatMap((part) => part[name] ?? []);
    if (array === null || array.shape.length > 0) return [name, array && joinedRows(arrays)];
    const [sum, ...terms] = arrays as [GpuArray];
    for (const term of terms) addInPlace(sum, term);
    return [name, sum.retain()];
  });
  releaseBatch(parts);
  return Object.fromEntries(whole);
}
