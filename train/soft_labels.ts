// Soft labels p_{t,0}: the warm-up model's probabilities, fixed for the whole of stage 1.
//
// One file an image, so that a data set of any size fits and a resumed run reads the same bits.

import { join } from "node:path";
import { argmax } from "../kernels/argmax.ts";
import type { Size } from "../kernels/planes.ts";
import type { GpuArray } from "../kernels/runtime/mod.ts";
import { softmaxForward } from "../kernels/softmax.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import { resizeBilinear } from "../nn/functional/spatial.ts";
import { Safetensors, writeSafetensors } from "../nn/safetensors.ts";
import { noGrad, scope } from "../nn/tape.ts";
import { writeFileAtomic } from "./atomic_file.ts";
import type { Dataset } from "./dataset.ts";
import { uploadSample } from "./evaluate.ts";
import { Loader } from "./loader.ts";
import { PrototypeBank } from "./prototypes.ts";
import { input } from "./stages/input.ts";

/** A quarter of a size, the scale of every target loss; at least one pixel. */
export function quarterOf({ height, width }: Size): Size {
  const quarter = (length: number) => Math.max(1, Math.floor(length / 4));
  return { height: quarter(height), width: quarter(width) };
}

/** The soft labels of a data set, in a folder. */
export class SoftLabels {
  readonly #folder: string;

  /** Opens a folder that {@link labelTarget} has filled. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes the probabilities of the data set's item `index`, [1, K, height, width]. */
  async write(index: number, probabilities: GpuArray): Promise<void> {
    const array = { shape: probabilities.shape, data: await probabilities.read() };
    const bytes = writeSafetensors(new Map([["probabilities", array]]));
    writeFileAtomic(this.#path(index), [bytes]);
  }

  /** The probabilities of item `index`, [1, K, height, width]. */
  read(index: number): { readonly shape: readonly number[]; readonly data: Float32Array } {
    const file = new Safetensors(Deno.readFileSync(this.#path(index)));
    const { shape } = file.entry("probabilities");
    return { shape, data: file.floats("probabilities") };
  }

  #path(index: number): string {
    return join(this.#folder, `${String(index).padStart(6, "0")}.safetensors`);
  }
}

/**
 * Runs the warm-up model over the unlabelled target images: writes the soft label p_{t,0} of each at
 * a quarter of its size, and starts the prototypes from their features (eq. 4).
 *
 * @param longSide What an image's long side is resized to.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function labelTarget(
  network: DeepLab,
  dataset: Dataset,
  folder: string,
  longSide: number,
  signal: AbortSignal,
): Promise<{ softLabels: SoftLabels; bank: PrototypeBank }> {
  Deno.mkdirSync(folder, { recursive: true });
  const softLabels = new SoftLabels(folder);
  const bank = new PrototypeBank(network.gpu, {
    classes: network.classes,
    channels: network.featureChannels,
  });
  using loader = new Loader({ dataset, order: "sequential" });
  const { training } = network;
  network.eval();
  for (let [sample] = await loader.next(1); sample; [sample] = await loader.next(1)) {
    signal.throwIfAborted();
    const { image, label } = uploadSample(network.gpu, sample, longSide);
    label?.release();
    const size = quarterOf(sample.image);
    const probabilities = noGrad(() =>
      scope(() => {
        const { features, logits } = network.forward(input(image));
        const predicted = argmax(logits.array);
        bank.collect(features.array, predicted.labels);
        predicted.labels.release();
        predicted.confidence.release();
        return softmaxForward(resizeBilinear(logits, size).array);
      })
    );
    await softLabels.write(sample.index, probabilities);
    probabilities.release();
    image.release();
  }
  bank.start();
  network.train(training);
  return { softLabels, bank };
}
