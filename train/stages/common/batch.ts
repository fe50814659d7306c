// Batches are plain objects of arrays; whoever made one frees it whole.

import type { Size } from "../../../kernels/planes.ts";
import { GpuArray } from "../../../kernels/runtime/mod.ts";
import type { ViewTransform } from "../../views/views.ts";

/** Labelled images. */
export interface SourceBatch {
  /** [N, 3, H, W], RGB in 0 to 1. */
  readonly images: GpuArray;
  /** Train ids, [N, H, W]; `IGNORE` for none. */
  readonly labels: GpuArray<"u32">;
}

/** Two views of target images. */
export interface TargetViews {
  /** The weak view T(x), [N, 3, H, W]. */
  readonly weak: GpuArray;
  /** The strong view T'(x), made from the weak one, [N, 3, H, W]. */
  readonly strong: GpuArray;
  /** From weak to strong, one for each image. */
  readonly strongViews: readonly ViewTransform[];
}

/** Whole target images, whose sizes may differ. */
export interface WholeImages {
  /** Each [1, 3, h, w]. */
  readonly images: readonly GpuArray[];
  /** From each to its weak view. */
  readonly views: readonly ViewTransform[];
}

/** A quarter of a size, the scale of every target loss; at least one pixel. */
export function quarterOf({ height, width }: Size): Size {
  const quarter = (length: number) => Math.max(1, Math.floor(length / 4));
  return { height: quarter(height), width: quarter(width) };
}

/** Releases every GPU array in a batch, at any depth. */
export function releaseBatch(batch: unknown): void {
  if (batch instanceof GpuArray) batch.release();
  else if (Array.isArray(batch)) batch.forEach(releaseBatch);
  else if (batch !== null && typeof batch === "object") Object.values(batch).forEach(releaseBatch);
}
