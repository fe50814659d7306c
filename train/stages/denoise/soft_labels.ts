// Soft labels p_{t,0}: the warm-up model's probabilities, fixed for the whole of stage 1.
//
// One file per image, so that a data set of any size fits and a resumed run reads the same bits.

import { join } from "node:path";
import { argmax } from "../../../kernels/argmax.ts";
import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { idsWhereLabelled } from "../../../kernels/rectification.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { writeFileAtomic } from "../../base/atomic_file.ts";
import { makeFolder } from "../../base/folders.ts";
import type { Dataset } from "../../data/dataset.ts";
import { warpMask } from "../../../kernels/warp.ts";
import { forEachImageBatch, inEvaluation } from "../../evaluation/image_batches.ts";
import { joinedRows } from "../common/accumulate.ts";
import { Loader, type Sample } from "../../data/loader.ts";
import { quarterOf } from "../common/batch.ts";
import type { WeakViews } from "../common/batches.ts";
import { PrototypeBank, type PrototypeBankOptions } from "./prototypes.ts";
import type { DenoiseSettings } from "./settings.ts";

/** The soft labels of a data set, in a folder. */
export class SoftLabels {
  readonly #folder: string;

  /** Opens a folder that {@link labelTarget} has filled. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes the probabilities of samples, [N, K, height, width], one file per sample. */
  async write(samples: readonly Sample[], probabilities: GpuArray): Promise<void> {
    const [, ...rest] = probabilities.shape;
    const values = await probabilities.read();
    const length = values.length / samples.length;
    samples.forEach(({ index }, at) => {
      const array = { shape: [1, ...rest], data: values.slice(at * length, (at + 1) * length) };
      writeFileAtomic(this.#path(index), [writeSafetensors(new Map([["probabilities", array]]))]);
    });
  }

  /** The probabilities of item `index`, [1, K, height, width]. */
  read(index: number): { readonly shape: readonly number[]; readonly data: Float32Array } {
    const file = new Safetensors(Deno.readFileSync(this.#path(index)));
    const { shape } = file.entry("probabilities");
    return { shape, data: file.floats("probabilities") };
  }

  /** The probabilities of items of one size on the GPU, [N, K, height, width]. */
  upload(gpu: Gpu, indices: readonly number[]): GpuArray {
    const read = indices.map((index) => this.read(index));
    const [, ...rest] = read[0]?.shape ?? [];
    const size = rest.reduce((product, length) => product * length, 1);
    const values = new Float32Array(read.length * size);
    read.forEach(({ data }, at) => values.set(data, at * size));
    return gpu.upload(values, [read.length, ...rest], "soft labels");
  }

  #path(index: number): string {
    return join(this.#folder, `${String(index).padStart(6, "0")}.safetensors`);
  }
}

/** How prototypes start and move; as in the paper unless given. */
export type PrototypeVariants = Pick<PrototypeBankOptions, "startVariant" | "updateVariant">;

/** How prototypes start and move, and what they start from. */
export interface PrototypeStart extends PrototypeVariants {
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
 * Runs the warm-up model over the unlabelled target images: writes the soft label p_{t,0} of each at
 * a quarter of its size, and starts the prototypes from their features (eq. 4).
 *
 * @param longSide What an image's long side is resized to.
 * @param start How the prototypes start and will move.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function labelTarget(
  network: DeepLab,
  dataset: Dataset,
  folder: string,
  longSide: number,
  signal: AbortSignal,
  { views = null, padding = "masked", ...variants }: PrototypeStart = {},
): Promise<{ softLabels: SoftLabels; bank: PrototypeBank }> {
  makeFolder(folder);
  const softLabels = new SoftLabels(folder);
  const bank = bankFor(network, variants);
  using loader = new Loader({ dataset, order: "sequential" });
  try {
    await forEachImageBatch(network, loader, { longSide, signal }, async (batch) => {
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
          signal.throwIfAborted();
          collectViews(network, bank, weak, padding);
        }
      });
    }
    bank.start();
  } catch (error) {
    bank.dispose();
    throw error;
  }
  return { softLabels, bank };
}

/** Adds features to the start of prototypes, under the classes that are predicted where `seen` is not 0. */
function collect(
  bank: PrototypeBank,
  features: GpuArray,
  logits: GpuArray,
  seen: GpuArray | null,
): void {
  const { labels, confidence } = argmax(logits);
  confidence.release();
  using ids = seen ? idsWhereLabelled(labels, seen, IGNORE) : labels.retain();
  bank.collect(features, ids);
  labels.release();
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
