// Batches of the warm-up.

import type { Batches } from "../common/batches.ts";
import type { WarmUpBatch } from "./warm_up.ts";

/** A batch of labelled source and unlabelled target images. */
export async function nextWarmUpBatch(batches: Batches): Promise<WarmUpBatch> {
  const { images, samples } = await batches.nextTarget();
  const source = await batches.nextSource({ beside: samples });
  return { source, target: { images } };
}
