// Batches are plain objects of arrays; whoever made one frees it whole.

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

/** Releases every GPU array in a batch, at any depth. */
export function releaseBatch(batch: unknown): void {
  if (batch instanceof GpuArray) batch.release();
  else if (Array.isArray(batch)) batch.forEach(releaseBatch);
  else if (batch !== null && typeof batch === "object") Object.values(batch).forEach(releaseBatch);
}
