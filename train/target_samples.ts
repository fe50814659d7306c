// Sample pictures of a stage: the first target images, their labels, and what the network makes of them.

import type { GpuArray } from "../kernels/runtime/mod.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import type { Colour } from "./classes.ts";
import type { Dataset } from "./dataset.ts";
import { predictLabels, uploadSamples } from "./evaluate.ts";
import { Loader, type Sample } from "./loader.ts";
import { type LabelMap, writeSamples } from "./samples.ts";

/** What to draw. */
export interface TargetSamplesOptions {
  readonly network: DeepLab;
  /** Target images with labels where there are any. */
  readonly dataset: Dataset;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  readonly palette: readonly Colour[];
  /** Makes the denoised labels of an image, where the stage has them. */
  readonly denoise?: ((sample: Sample, image: GpuArray) => GpuArray<"u32">) | undefined;
}

/** Rows of a picture. */
const ROWS = 4;

/**
 * Writes one PNG of rows: image, label, prediction, denoised labels.
 *
 * @throws {DataError} If a file cannot be read or written.
 */
export async function writeTargetSamples(
  path: string,
  { network, dataset, longSide, palette, denoise }: TargetSamplesOptions,
): Promise<void> {
  using loader = new Loader({ dataset, order: "sequential", ahead: ROWS });
  const { training } = network;
  network.eval();
  const rows = [];
  for (const sample of await loader.next(ROWS)) {
    const { images, labels } = uploadSamples(network.gpu, [sample], longSide);
    const maps: LabelMap[] = sample.label ? [sample.label] : [];
    maps.push(await takeMap(predictLabels(network, images, sample.image)));
    if (denoise) maps.push(await takeMap(denoise(sample, images)));
    rows.push({ image: sample.image, maps });
    images.release();
    labels?.release();
  }
  network.train(training);
  writeSamples(path, rows, palette);
}

async function takeMap(labels: GpuArray<"u32">): Promise<LabelMap> {
  const [, height = 0, width = 0] = labels.shape;
  const data = await labels.read();
  labels.release();
  return { data, width, height };
}
