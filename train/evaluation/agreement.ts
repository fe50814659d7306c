/**
 * What a network makes of images without a label: which classes it sees, and whether it sees the same in
 * other views.
 *
 * @module
 */

import { confusion } from "../../kernels/confusion.ts";
import type { Size } from "../../kernels/planes.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps, type WarpView } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Collective } from "../parallel/collective.ts";
import { addUp, shareOf } from "../parallel/peers.ts";
import { Solo } from "../parallel/solo.ts";
import { fullView, type ViewOperation } from "../views/views.ts";
import { predictLabels } from "./evaluate.ts";
import { forEachImageBatch, networkSize } from "./image_batches.ts";
import { spreadOver } from "./label_scores.ts";
import { ConfusionMatrix } from "./metrics.ts";

/** Most images that are looked at. */
export const MOST_IMAGES = 100;

/** How an image is looked at again: its scale, and whether it is mirrored. */
interface OtherView {
  readonly scale: number;
  readonly isMirrored: boolean;
}

/** The other views. */
export const VIEWS: readonly OtherView[] = [
  { scale: 1, isMirrored: true },
  { scale: 0.75, isMirrored: false },
  { scale: 1.25, isMirrored: false },
];

/**
 * What a network sees in images and in other views of them: its mirror image, and the image at 0.75 and
 * 1.25 of its size. All numbers are percentages; of views they are means.
 */
export interface Sights {
  /**
   * The mean over all K classes k of
   *
   *   |P_k ∩ V_k| / |P_k ∪ V_k|,
   *
   * where P_k are the pixels of class k in the prediction of the image as it is, and V_k those in the
   * prediction of the view, laid back. A class that is never predicted counts as 0: a network that has
   * collapsed to one class always agrees with itself.
   */
  readonly agreement: number;
  /** Share of the pixels that have the same class in the view. */
  readonly alike: number;
  /** Share of the pixels of the images as they are that are predicted as each class. */
  readonly shares: readonly number[];
}

/**
 * Looks at images and at other views of them. Several processes look at a share of the images each, and all
 * get what all have seen.
 *
 * @param dataset Its labels are not read; of more than 100 images, 100 spread over it are looked at.
 * @param longSide What an image's long side is resized to.
 * @param signal Stops before the next batch.
 * @throws {DataError} If a file cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function lookAgain(
  network: DeepLab,
  dataset: Dataset,
  longSide: number,
  signal?: AbortSignal,
  ranks: Collective = new Solo(),
): Promise<Sights> {
  const { gpu, classes } = network;
  const counts = VIEWS.map(() => gpu.zeros([classes, classes], "agreement", "u32"));
  const unlabelled = { ...spreadOver(dataset, MOST_IMAGES), trainIds: null };
  using loader = new Loader({
    dataset: unlabelled,
    order: "sequential",
    cacheBytes: 0,
    share: shareOf(ranks),
  });
  try {
    await forEachImageBatch(network, loader, { longSide, signal }, ({ size, images }) => {
      using plain = predictLabels(network, images, size);
      VIEWS.forEach((view, index) => {
        using seen = seenAs(view, images);
        using labels = predictLabels(network, seen, size);
        using back = view.isMirrored ? mirrored(labels) : labels.retain();
        confusion(back, plain, counts[index]);
      });
      gpu.flush();
    });
    const matrices: ConfusionMatrix[] = [];
    for (const own of counts) {
      const matrix = new ConfusionMatrix(classes);
      matrix.add(await own.read());
      matrices.push(matrix);
    }
    await addUp(ranks, matrices.map(({ counts }) => counts));
    return sightsOf(matrices);
  } finally {
    for (const array of counts) array.release();
  }
}

/**
 * What counts of two predictions of the same pixels say.
 *
 * @param matrices One a view: rows are the classes of the images as they are, columns those of the view.
 */
export function sightsOf(matrices: readonly ConfusionMatrix[]): Sights {
  const scores = matrices.map((matrix) => matrix.scores());
  const labelled = matrices[0].labelCounts();
  const pixels = labelled.reduce((sum, count) => sum + count, 0);
  return {
    agreement: mean(scores.flatMap(({ classIoU }) => classIoU.map((value) => value ?? 0))),
    alike: mean(scores.map(({ pixelAccuracy }) => pixelAccuracy)),
    shares: labelled.map((count) => 100 * count / pixels),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Maps from right to left, [N, C, H, W]. */
export function mirror(maps: GpuArray): GpuArray {
  const [count = 0, , height = 0, width = 0] = maps.shape;
  return warpMaps(maps, flips(count, { height, width }), { height, width });
}

const FLIP: ViewOperation = { kind: "flip" };

/** The other view of images, [N, 3, H, W]. */
function seenAs({ scale, isMirrored }: OtherView, images: GpuArray): GpuArray {
  const [count = 0, , height = 0, width = 0] = images.shape;
  const size = networkSize({ height, width }, scale * Math.max(height, width));
  const resized = fullView({ height, width }).append({ kind: "resize", ...size });
  const view = (isMirrored ? resized.append(FLIP) : resized).imageView();
  return warpMaps(images, Array(count).fill(view), size);
}

/** Labels, [N, H, W], with left and right swapped. */
function mirrored(labels: GpuArray<"u32">): GpuArray<"u32"> {
  const [count = 0, height = 0, width = 0] = labels.shape;
  return warpLabelMaps(labels, flips(count, { height, width }), { height, width });
}

/** Views from right to left of so many maps. */
function flips(count: number, size: Size): WarpView[] {
  return Array(count).fill(fullView(size).append(FLIP).imageView());
}
