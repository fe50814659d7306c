// Hard pseudo labels: what a network is sure of on the unlabelled target images, as files that can be
// looked at and that a data set reads like any labels.

import { dirname, join } from "node:path";
import { addInPlace } from "../kernels/elementwise.ts";
import type { Size } from "../kernels/planes.ts";
import { type DenoisedLabels, denoiseLabels } from "../kernels/rectification.ts";
import { resizeBilinearForward } from "../kernels/resize.ts";
import type { GpuArray } from "../kernels/runtime/mod.ts";
import { softmaxForward } from "../kernels/softmax.ts";
import { warpMaps } from "../kernels/warp.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import { noGrad, scope } from "../nn/tape.ts";
import { writeFileAtomic } from "./atomic_file.ts";
import type { ClassSet } from "./class_set.ts";
import { IGNORE } from "./classes.ts";
import type { Dataset } from "./dataset.ts";
import { sameSizeBatches, uploadSamples } from "./evaluate.ts";
import { encodeImage, encodeLabel } from "./image.ts";
import { PLAIN_CODE } from "./label_code.ts";
import { Loader, type Sample } from "./loader.ts";
import { colourLabel } from "./samples.ts";
import { input } from "./stages/input.ts";
import { ViewTransform } from "./view_transform.ts";

/** How pseudo labels are made. */
export interface PseudoLabelOptions {
  /** Gets the folders `label` (label ids of the target), `colour` and `confidence` (0 to 255). */
  readonly folder: string;
  /** What the network predicts. */
  readonly classes: ClassSet;
  /** Pixels that the network is less sure of are unlabelled; 0.95 in the paper. */
  readonly threshold: number;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  /** Stops before the next image. */
  readonly signal: AbortSignal;
}

/** The target images of a data set with the pseudo labels of {@link writePseudoLabels}. */
export function withPseudoLabels(
  dataset: Dataset,
  { folder, classes }: Pick<PseudoLabelOptions, "folder" | "classes">,
): Dataset {
  return {
    ...dataset,
    trainIds: classes.trainIds,
    code: PLAIN_CODE,
    items: dataset.items.map((item) => ({ ...item, label: pathOf(folder, "label", item.name) })),
  };
}

/**
 * Writes the hard pseudo labels of every image: the mean of the network's softmax on the image and on its
 * mirror image, resized to the image; its largest class, or none below the threshold (paper, section 3.4).
 *
 * @throws {DataError} If an image cannot be read or a file cannot be written.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function writePseudoLabels(
  network: DeepLab,
  dataset: Dataset,
  options: PseudoLabelOptions,
): Promise<void> {
  const { longSide, signal } = options;
  const { gpu, training } = network;
  using loader = new Loader({ dataset, order: "sequential" });
  network.eval();
  try {
    for await (const samples of sameSizeBatches(loader)) {
      signal.throwIfAborted();
      const { images, labels } = uploadSamples(gpu, samples, longSide);
      labels?.release();
      const hard = hardLabels(network, images, (samples[0] as Sample).image, options.threshold);
      images.release();
      const [ids, confidence] = [await hard.labels.read(), await hard.confidence.read()];
      for (const array of [hard.labels, hard.confidence]) array.release();
      const length = ids.length / samples.length;
      samples.forEach((sample, at) => {
        const [start, end] = [at * length, (at + 1) * length];
        write(sample, ids.subarray(start, end), confidence.subarray(start, end), options);
      });
    }
  } finally {
    network.train(training);
  }
}

/** Labels, the ignore label below the threshold, and confidence, [N, height, width]. */
function hardLabels(
  network: DeepLab,
  images: GpuArray,
  size: Size,
  threshold: number,
): DenoisedLabels {
  using mirrored = mirror(images);
  using sum = probabilitiesOf(network, images);
  using ofMirrored = probabilitiesOf(network, mirrored);
  using back = mirror(ofMirrored);
  addInPlace(sum, back);
  using whole = resizeBilinearForward(sum, size);
  // Labels are divided by their sum and weighed by prototypes: without the latter, it is the mean.
  using noDistances = network.gpu.zeros(whole.shape, "no distances");
  return denoiseLabels(whole, noDistances, { temperature: 1, threshold, ignoreLabel: IGNORE });
}

function probabilitiesOf(network: DeepLab, images: GpuArray): GpuArray {
  return noGrad(() => scope(() => softmaxForward(network.forward(input(images)).logits.array)));
}

function mirror(maps: GpuArray): GpuArray {
  const [, , height = 0, width = 0] = maps.shape;
  const size = { height, width };
  const view = new ViewTransform(size, [{ kind: "flip" }]).mapView(size, size);
  return warpMaps(maps, Array(maps.shape[0]).fill(view), size);
}

function write(
  { name, image: { width, height } }: Sample,
  trainIds: Uint32Array,
  confidence: Float32Array,
  { folder, classes }: PseudoLabelOptions,
): void {
  const ids = Uint8Array.from(trainIds, (id) => classes.labelIds[id] ?? classes.unlabelled);
  const files = {
    label: encodeLabel({ data: ids, width, height }),
    colour: encodeImage(colourLabel({ data: trainIds, width, height }, classes.palette)),
    confidence: encodeLabel({
      data: Uint8Array.from(confidence, (value) => Math.round(value * 255)),
      width,
      height,
    }),
  };
  for (const [kind, bytes] of Object.entries(files)) {
    const path = pathOf(folder, kind, name);
    Deno.mkdirSync(dirname(path), { recursive: true });
    writeFileAtomic(path, [bytes]);
  }
}

function pathOf(folder: string, kind: string, name: string): string {
  return join(folder, kind, `${name}.png`);
}
