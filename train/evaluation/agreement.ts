/**
 * How good a network is, without a label: whether it sees the same classes in other views.
 *
 * @module
 */

import { confusion } from "../../kernels/confusion.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import { fullView, type ViewOperation } from "../views/views.ts";
import { predictLabels } from "./evaluate.ts";
import { forEachImageBatch, networkSize } from "./image_batches.ts";
import { spreadOver } from "./label_scores.ts";
import { ConfusionMatrix } from "./metrics.ts";

/** Most images that are looked at. */
const IMAGES = 100;

/** How an image is looked at again: its scale, and whether it is mirrored. */
interface OtherView {
  readonly scale: number;
  readonly isMirrored: boolean;
}

/** The other views. */
const VIEWS: readonly OtherView[] = [
  { scale: 1, isMirrored: true },
  { scale: 0.75, isMirrored: false },
  { scale: 1.25, isMirrored: false },
];

/**
 * The agreement of a network with itself, in percent: the mean over other views v of an image (its
 * mirror image, and 0.75 and 1.25 of its size) and over all K classes k of
 *
 *   |P_k ∩ V_k| / |P_k ∪ V_k|,
 *
 * where P_k are the pixels of class k in the prediction of the image as it is, and V_k those in the
 * prediction of the view, laid back. A class that is never predicted counts as 0: a network that has
 * collapsed to one class always agrees with itself.
 *
 * @param dataset Its labels are not read; of more than 100 images, 100 spread over it are looked at.
 * @param longSide What an image's long side is resized to.
 * @param signal Stops before the next batch.
 * @throws {DataError} If a file cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function measureAgreement(
  network: DeepLab,
  dataset: Dataset,
  longSide: number,
  signal?: AbortSignal,
): Promise<number> {
  const { gpu, classes } = network;
  const counts = VIEWS.map(() => gpu.zeros([classes, classes], "agreement", "u32"));
  const unlabelled = { ...spreadOver(dataset, IMAGES), trainIds: null };
  using loader = new Loader({ dataset: unlabelled, order: "sequential", cacheBytes: 0 });
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
    return agreementOf(matrices);
  } finally {
    for (const array of counts) array.release();
  }
}

/** The mean IoU over all classes, those that never occur with 0, and over matrices; in percent. */
export function agreementOf(matrices: readonly ConfusionMatrix[]): number {
  const values = matrices.flatMap((matrix) => matrix.scores().classIoU.map((value) => value ?? 0));
  return values.reduce((sum, value) => sum + value, 0) / values.length;
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
  const view = fullView({ height, width }).append(FLIP).imageView();
  return warpLabelMaps(labels, Array(count).fill(view), { height, width });
}
