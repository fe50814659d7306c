// Sample pictures of a stage: the first target images, their labels, and what the network makes of
// them.

import type { GpuArray } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Colour } from "../images/rgb.ts";
import type { Dataset } from "../data/dataset.ts";
import { predictLabels } from "./evaluate.ts";
import { inEvaluation, uploadSamples } from "./image_batches.ts";
import type { LabelMaker } from "./label_scores.ts";
import { Loader } from "../data/loader.ts";
import { type LabelMap, type SampleRow, writeSamples } from "../images/pictures.ts";

/** What to draw. */
export interface TargetSamplesOptions {
  readonly network: DeepLab;
  /** Target images with labels where there are any. */
  readonly dataset: Dataset;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  readonly palette: readonly Colour[];
  /** Images, the first of the data set; 4 unless given. */
  readonly rows?: number;
  /** Makes the labels that the stage learns, where it has them. */
  readonly makeLabels?: LabelMaker | undefined;
}

/**
 * Writes one PNG of rows: image, label, prediction, denoised labels.
 *
 * @param path Null where another process that does the same writes it.
 * @throws {DataError} If a file cannot be read or written.
 */
export async function writeTargetSamples(
  path: string | null,
  { network, dataset, longSide, palette, rows: count = 4, makeLabels }: TargetSamplesOptions,
): Promise<void> {
  using loader = new Loader({ dataset, order: "sequential", ahead: count });
  const rows: SampleRow[] = [];
  await inEvaluation(network, async () => {
    for (const sample of await loader.next(count)) {
      const { images, labels } = uploadSamples(network.gpu, [sample], longSide);
      labels?.release();
      const maps: LabelMap[] = sample.label ? [sample.label] : [];
      maps.push(await takeMap(predictLabels(network, images, sample.image)));
      if (makeLabels) maps.push(await takeMap(makeLabels([sample], images)));
      rows.push({ image: sample.image, maps });
      images.release();
    }
  });
  if (path !== null) writeSamples(path, rows, palette);
}

async function takeMap(labels: GpuArray<"u32">): Promise<LabelMap> {
  const [, height = 0, width = 0] = labels.shape;
  const data = await labels.read();
  labels.release();
  return { data, width, height };
}
