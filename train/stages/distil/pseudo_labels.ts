// Hard pseudo labels: what a network is sure of on the unlabelled target images, as files that can be
// looked at and that a data set reads like any labels.

import { addInPlace } from "../../../kernels/elementwise.ts";
import type { Size } from "../../../kernels/planes.ts";
import { type DenoisedLabels, denoiseLabels } from "../../../kernels/rectification.ts";
import { resizeBilinearForward } from "../../../kernels/resize.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { DataError } from "../../base/data_error.ts";
import { describeFailure } from "../../base/refusal.ts";
import { digestOfFile } from "../../base/digest.ts";
import { exists } from "../../base/folders.ts";
import type { ClassSet } from "../../data/class_set.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import type { Dataset } from "../../data/dataset.ts";
import { forEachImageBatch } from "../../evaluation/image_batches.ts";
import { mirror } from "../../evaluation/agreement.ts";
import { encodeLabel, readLabel } from "../../images/image.ts";
import { PLAIN_CODE } from "../../data/label_code.ts";
import { writeLabelPictures } from "../../data/label_pictures.ts";
import { Loader } from "../../data/loader.ts";
import type { Collective } from "../../parallel/collective.ts";
import { addUp, ownItems, shareOf } from "../../parallel/peers.ts";
import { Solo } from "../../parallel/solo.ts";
import { picturePath, writePicture } from "../../images/pictures.ts";

/** How pseudo labels are made. */
export interface PseudoLabelOptions {
  /** Gets the folders `label` (label ids of the target), `colour` and `confidence` (0 to 255). */
  readonly folder: string;
  /** What the network predicts. */
  readonly classes: ClassSet;
  /** Pixels that the network is less sure of are unlabelled; 0.95 in the paper. */
  readonly threshold: number;
  /**
   * Share of what is predicted as a class that is labelled whatever the threshold, the surest first (after
   * Zou et al., 2018); 0, as in the paper, unless given.
   */
  readonly keep?: number;
  /** What an image's long side is resized to. */
  readonly longSide: number;
  /** Stops before the next image. */
  readonly signal: AbortSignal;
  /** The processes that make them together, each of its share of the images; this one alone unless given. */
  readonly ranks?: Collective;
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
    items: dataset.items.map((item) => ({
      ...item,
      label: picturePath(folder, "label", item.name),
    })),
  };
}

/** The label files of a data set, by name. */
function labelFiles(
  { items }: Dataset,
  { folder }: Pick<PseudoLabelOptions, "folder">,
): { name: string; path: string }[] {
  return items.map(({ name }) => ({ name, path: picturePath(folder, "label", name) }));
}

/** The paths of labels that are missing. */
export function missingPseudoLabels(
  dataset: Dataset,
  options: Pick<PseudoLabelOptions, "folder">,
): string[] {
  return labelFiles(dataset, options).map(({ path }) => path).filter((path) => !exists(path));
}

/**
 * The digests of the labels by the names of their images.
 *
 * @param expected What they should be, such as those of a checkpoint; names that it lacks are free.
 * @throws {DataError} If one cannot be read, or has another digest.
 */
export function pseudoLabelDigests(
  dataset: Dataset,
  options: Pick<PseudoLabelOptions, "folder">,
  expected: Readonly<Record<string, string>> | null = null,
): Record<string, string> {
  return Object.fromEntries(
    labelFiles(dataset, options).map(({ name, path }) => {
      const digest = attempt(path, () => digestOfFile(path));
      if (digest !== (expected?.[name] ?? digest)) {
        throw fault(path, "it is another file than the stage has learnt from so far");
      }
      return [name, digest];
    }),
  );
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw fault(path, describeFailure(error), error);
  }
}

function fault(path: string, reason: string, cause?: unknown): DataError {
  return new DataError(
    `Cannot use pseudo label ${path} as ${reason}; remove the file and resume the run, which makes pseudo ` +
      `labels again where some are missing`,
    { cause, options: ["resume"] },
  );
}

/**
 * Writes the hard pseudo labels of every image: the mean of the network's softmax on the image and on its
 * mirror image, resized to the image; its largest class, or none below the threshold (paper, section 3.4).
 * A threshold for all classes leaves little of those that the network is seldom sure of: `keep` lowers it
 * for them.
 *
 * @throws {DataError} If an image cannot be read or a file cannot be written.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function writePseudoLabels(
  network: DeepLab,
  dataset: Dataset,
  options: PseudoLabelOptions,
): Promise<void> {
  const { longSide, signal, threshold, keep = 0, classes, ranks = new Solo() } = options;
  const share = shareOf(ranks);
  const found = new Confidences(classes.names.length);
  using loader = new Loader({ dataset, order: "sequential", share });
  await forEachImageBatch(network, loader, { longSide, signal }, async (batch) => {
    const { samples, size, images } = batch;
    const hard = hardLabels(network, images, size, keep > 0 ? 0 : threshold);
    const [ids, confidence] = [await hard.labels.read(), await hard.confidence.read()];
    for (const array of [hard.labels, hard.confidence]) array.release();
    const length = ids.length / samples.length;
    samples.forEach(({ name }, at) => {
      const [start, end] = [at * length, (at + 1) * length];
      const bytes = Uint8Array.from(
        confidence.subarray(start, end),
        (value) => Math.round(value * 255),
      );
      const trainIds = ids.subarray(start, end);
      found.add(trainIds, bytes);
      writeLabelPictures(options.folder, name, { ...size, data: trainIds }, classes);
      const { width, height } = size;
      writePicture(options.folder, "confidence", name, encodeLabel({ data: bytes, width, height }));
    });
  });
  if (keep === 0) return;
  await addUp(ranks, [found.counts]);
  const items = ownItems(ranks, dataset.items);
  removeUnsure({ ...dataset, items }, found.thresholds(keep, threshold), options);
}

/** How sure a network is of the pixels of every class. */
class Confidences {
  /** Pixels by class and confidence, 256 per class. */
  readonly counts: Float64Array;
  readonly #classes: number;

  constructor(classes: number) {
    this.#classes = classes;
    this.counts = new Float64Array(256 * classes);
  }

  add(trainIds: Uint32Array, confidence: Uint8Array): void {
    // A pixel below the threshold has no class and counts for none.
    trainIds.forEach((id, at) => {
      if (id < this.#classes) this.counts[256 * id + (confidence[at] as number)]++;
    });
  }

  /** The least confidence that is labelled, 0 to 255, for every class. */
  thresholds(keep: number, threshold: number): number[] {
    return Array.from({ length: this.#classes }, (_, id) => {
      const counts = this.counts.subarray(256 * id, 256 * (id + 1));
      const total = counts.reduce((sum, count) => sum + count, 0);
      let least = 255;
      for (let kept = counts[255] as number; kept < keep * total; kept += counts[least] as number) {
        least--;
      }
      return Math.min(least, Math.round(threshold * 255));
    });
  }
}

/** Takes the labels of pixels back whose confidence is below the threshold of their class. */
function removeUnsure(
  dataset: Dataset,
  thresholds: readonly number[],
  options: PseudoLabelOptions,
): void {
  const { folder, classes, signal } = options;
  for (const { name } of dataset.items) {
    signal.throwIfAborted();
    const { data, ...size } = readLabel(picturePath(folder, "label", name));
    const confidence = readLabel(picturePath(folder, "confidence", name)).data;
    const trainIds = Uint32Array.from(data, (id, at) => {
      const trainId = classes.labelIds.indexOf(id);
      const least = thresholds[trainId] ?? Infinity;
      return (confidence[at] as number) >= least ? trainId : IGNORE;
    });
    writeLabelPictures(options.folder, name, { ...size, data: trainIds }, classes);
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
  // Labels are divided by their sum: without prototypes to weigh them, that is the mean.
  return denoiseLabels(whole, null, { temperature: 1, threshold, ignoreLabel: IGNORE });
}

function probabilitiesOf(network: DeepLab, images: GpuArray): GpuArray {
  return noGrad(() => scope(() => softmaxForward(network.forward(input(images)).logits.array)));
}
