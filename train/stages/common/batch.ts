// Batches are plain objects of arrays; whoever made one frees it whole.

import { GpuArray } from "../../../kernels/runtime/mod.ts";

/** Releases every GPU array in a batch, at any depth. */
export function releaseBatch(batch: unknown): void {
  if (batch instanceof GpuArray) batch.release();
  else if (Array.isArray(batch)) batch.forEach(releaseBatch);
  else if (batch !== null && typeof batch === "object") Object.values(batch).forEach(releaseBatch);
}
