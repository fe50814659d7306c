// What stage 1 starts from: soft labels of the target images, and prototypes of their features (eq. 4).

import { IGNORE } from "../../../kernels/ignore_label.ts";
import { idsWhereLabelled } from "../../../kernels/rectification.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import { warpMask } from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import type { SampleStream } from "../../data/samples.ts";
import { forEachImageBatch, inEvaluation } from "../../evaluation/image_batches.ts";
import { joinedRows } from "../common/accumulate.ts";
import { quarterOf } from "../common/batch.ts";
import type { WeakViews } from "../common/batches.ts";
import { PrototypeBank, type PrototypeBankOptions } from "./prototypes.ts";
import type { DenoiseSettings } from "./settings.ts";
import { labelsOf } from "./sight.ts";
import type { SoftLabelStore } from "./soft_label_store.ts";

/** How prototypes start and move; as in the paper unless given. */
export type PrototypeVariants = Pick<PrototypeBankOptions, "startVariant" | "updateVariant">;

/** What the start of stage 1 takes, and how prototypes start and move. */
export interface LabelTargetOptions extends PrototypeVariants {
  /** What an image's long side is resized to, `data.longSide` of the training. */
  readonly longSide: number;
  /** Stops before the next batch. */
  readonly signal?: AbortSignal;
  /** Random views of the images (official); the whole images unless given. */
  readonly views?: AsyncIterable<WeakViews> | null;
  /** Whether what views show beyond their images is left out. */
  readonly padding?: DenoiseSettings["padding"];
}

/** A prototype bank for the features of a network, all zero. */
export function bankFor(
  { gpu, classes, featureChannels: channels }: DeepLab,
  variants: PrototypeVariants = {},
): PrototypeBank {
  return new PrototypeBank(gpu, { classes, channels, ...variants });
}

/**
 * Runs the warm-up model over the unlabelled target images: keeps the soft label p_{t,0} of each at
 * a quarter of its size, and starts the prototypes from their features (eq. 4).
 *
 * @param target Every target image once.
 * @param softLabels Keeps the soft labels.
 * @param options.longSide What an image's long side is resized to.
 * @param options.signal Stops before the next batch.
 * @returns The prototypes, the caller's to dispose.
 * @throws {DataError} If an image cannot be read, soft labels cannot be kept, or the network's output is
 * not finite.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function labelTarget(
  network: DeepLab,
  target: SampleStream,
  softLabels: SoftLabelStore,
  { longSide, signal, views = null, padding = "masked", ...variants }: LabelTargetOptions,
): Promise<PrototypeBank> {
  const bank = bankFor(network, variants);
  try {
    await forEachImageBatch(network, target, { longSide, signal }, async (batch) => {
      const { samples, size, images } = batch;
      using probabilities = noGrad(() =>
        scope(() => {
          const { features, logits } = network.forward(input(images));
          if (!views) collect(bank, features.array, logits.array, null);
          return softmaxForward(resizeBilinear(logits, quarterOf(size)).array);
        })
      );
      await softLabels.write(samples, probabilities);
    });
    if (views) {
      await inEvaluation(network, async () => {
        for await (const weak of views) {
          signal?.throwIfAborted();
          collectViews(network, bank, weak, padding);
        }
      });
    }
    bank.start();
    return bank;
  } catch (error) {
    bank.dispose();
    throw error;
  }
}

/** Adds features to the start of prototypes, under the classes that are predicted where `seen` is not 0. */
function collect(
  bank: PrototypeBank,
  features: GpuArray,
  logits: GpuArray,
  seen: GpuArray | null,
): void {
  using predictions = labelsOf(logits);
  using ids = seen ? idsWhereLabelled(predictions, seen, IGNORE) : predictions.retain();
  bank.collect(features, ids);
}

/** Adds what a network makes of weak views, and releases them. */
function collectViews(
  network: DeepLab,
  bank: PrototypeBank,
  { samples, views, images }: WeakViews,
  padding: DenoiseSettings["padding"],
): void {
  noGrad(() =>
    scope(() => {
      const { features, logits } = network.forward(input(images));
      const [count, , height, width] = logits.shape;
      const size = { height, width };
      const looks = views.map((view, index) => view.mapView(samples[index].image, size));
      if (padding === "counted") return collect(bank, features.array, logits.array, null);
      const masks = looks.map((look, index) =>
        warpMask(network.gpu, [look], samples[index].image, size)
      );
      using seen = joinedRows(masks);
      using channel = seen.view([count, 1, height, width]);
      collect(bank, features.array, logits.array, channel);
      for (const mask of masks) mask.release();
    })
  );
  images.release();
}
