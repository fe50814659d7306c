// Soft labels p_{t,0}: the warm-up model's probabilities, fixed for the whole of stage 1.
//
// One file per image, so that a data set of any size fits and a resumed run reads the same bits.

import { join } from "node:path";
import { argmax } from "../../../kernels/argmax.ts";
import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { writeFileAtomic } from "../../base/atomic_file.ts";
import { makeFolder } from "../../base/folders.ts";
import type { Dataset } from "../../data/dataset.ts";
import { forEachImageBatch } from "../../evaluation/image_batches.ts";
import { Loader, type Sample } from "../../data/loader.ts";
import { quarterOf } from "../common/batches.ts";
import { PrototypeBank, type PrototypeBankOptions } from "./prototypes.ts";

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
 * @param variants How the prototypes start and will move.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function labelTarget(
  network: DeepLab,
  dataset: Dataset,
  folder: string,
  longSide: number,
  signal: AbortSignal,
  variants: PrototypeVariants = {},
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
          const predicted = argmax(logits.array);
          bank.collect(features.array, predicted.labels);
          predicted.labels.release();
          predicted.confidence.release();
          return softmaxForward(resizeBilinear(logits, quarterOf(size)).array);
        })
      );
      await softLabels.write(samples, probabilities);
    });
    bank.start();
  } catch (error) {
    bank.dispose();
    throw error;
  }
  return { softLabels, bank };
}
