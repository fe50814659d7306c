// The batch-norm statistics of a data set of files, as a run estimates them.

import type { DeepLab } from "../../nn/deeplab.ts";
import type { Dataset } from "../../train/data/dataset.ts";
import { Loader } from "../../train/data/loader.ts";
import { estimateStatistics } from "../../train/evaluation/estimate_statistics.ts";

export async function estimateFrom(
  network: DeepLab,
  dataset: Dataset,
  longSide: number,
  signal?: AbortSignal,
): Promise<void> {
  using images = new Loader({ dataset, order: "sequential" });
  await estimateStatistics(network, images, longSide, signal);
}
