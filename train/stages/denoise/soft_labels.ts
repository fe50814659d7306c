// Soft labels p_{t,0}: the warm-up model's probabilities, fixed for the whole of stage 1.
//
// One file per image, so that a data set of any size fits and a resumed run reads the same bits.

import { join } from "node:path";
import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { idsWhereLabelled } from "../../../kernels/rectification.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { writeFileAtomic } from "../../base/atomic_file.ts";
import { DataError } from "../../base/data_error.ts";
import { exists, makeFolder } from "../../base/folders.ts";
import type { Dataset } from "../../data/dataset.ts";
import { warpMask } from "../../../kernels/warp.ts";
import { forEachImageBatch, inEvaluation } from "../../evaluation/image_batches.ts";
import { joinedRows } from "../common/accumulate.ts";
import { Loader, type Sample } from "../../data/loader.ts";
import { quarterOf } from "../common/batch.ts";
import type { WeakViews } from "../common/batches.ts";
import { PrototypeBank, type PrototypeBankOptions } from "./prototypes.ts";
import { labelsOf } from "./sight.ts";
import type { DenoiseSettings } from "./settings.ts";
import {
  encodeSoftLabel,
  faultOf,
  type Probabilities,
  readSoftLabel,
  readSoftLabelHeader,
} from "./soft_label_file.ts";

/** Bytes of soft labels that are read before a stage goes on, in a tenth of a second. */
const READ_AT_ONCE = 128 * 2 ** 20;

/** What is known of soft labels before they are read. */
export interface SoftLabelsOptions {
  /** The classes that they are of; any number unless given. */
  readonly classes?: number;
  /** Digests of the files by their names, as the stage's checkpoint has them. */
  readonly digests?: Readonly<Record<string, string>> | null;
}

/** The soft labels of a data set, in a folder. */
export class SoftLabels {
  readonly #folder: string;
  readonly #classes: number | undefined;
  readonly #digests: Map<string, string>;
  /** How a file looked when its content was last checked, by its name. */
  readonly #known = new Map<string, string>();

  /** Opens a folder that {@link labelTarget} has filled. */
  constructor(folder: string, { classes, digests }: SoftLabelsOptions = {}) {
    this.#folder = folder;
    this.#classes = classes;
    this.#digests = new Map(Object.entries(digests ?? {}));
  }

  /** The digests of the files by their names; those of an earlier version have none. */
  get digests(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#digests);
  }

  /**
   * Writes the probabilities of samples, [N, K, height, width], one file per sample.
   *
   * @throws {DataError} If they are none, or a file cannot be written.
   */
  async write(samples: readonly Sample[], probabilities: GpuArray): Promise<void> {
    const [, ...rest] = probabilities.shape;
    const values = await probabilities.read();
    const length = values.length / samples.length;
    samples.forEach(({ index, name }, at) => {
      const data = values.slice(at * length, (at + 1) * length);
      const labels = { shape: [1, ...rest], data };
      const fault = faultOf(labels);
      if (fault !== null) {
        throw new DataError(
          `Cannot make soft labels of ${name} as ${fault}: expected finite probabilities; start from a ` +
            `network whose training has not diverged`,
        );
      }
      const { bytes, digest } = encodeSoftLabel(name, labels);
      const file = fileName(index);
      writeFileAtomic(join(this.#folder, file), [bytes]);
      this.#digests.set(file, digest);
    });
  }

  /**
   * The paths of the files that are missing. Where none is, checks all of them, though of a large set only
   * what the files say of themselves: what they hold is checked when they are read.
   *
   * @throws {DataError} If one is damaged, of another image, or another than the stage has learnt from so far.
   */
  missing(items: Dataset["items"]): string[] {
    const files = items.map(({ name }, index) => {
      const file = fileName(index);
      return { name, index, file, path: join(this.#folder, file) };
    });
    const missing = files.map(({ path }) => path).filter((path) => !exists(path));
    if (missing.length > 0) return missing;
    const bytes = files.reduce((sum, { path }) => sum + Deno.statSync(path).size, 0);
    for (const { name, index, file, path } of files) {
      const { digest } = readSoftLabelHeader(path, { name, digest: this.#digests.get(file) });
      if (digest !== undefined) this.#digests.set(file, digest);
      if (bytes <= READ_AT_ONCE) this.read(index);
    }
    return [];
  }

  /**
   * The probabilities of item `index`, [1, K, height, width].
   *
   * @param sample The item; unless given, labels of any image and size will do.
   * @throws {DataError} If the file is damaged, of another image, or holds no probabilities.
   */
  read(index: number, sample?: Pick<Sample, "name" | "image">): Probabilities {
    const file = fileName(index);
    const path = join(this.#folder, file);
    const look = lookOf(path);
    const quarter = sample && quarterOf(sample.image);
    const shape = quarter && this.#classes !== undefined
      ? [1, this.#classes, quarter.height, quarter.width]
      : undefined;
    const expected = { name: sample?.name, shape, digest: this.#digests.get(file) };
    const labels = readSoftLabel(path, expected, look !== null && this.#known.get(file) === look);
    if (look !== null) this.#known.set(file, look);
    return labels;
  }

  /**
   * The probabilities of images of one size on the GPU, [N, K, height, width].
   *
   * @param samples With the index that each has in the data set of the labels.
   */
  upload(gpu: Gpu, samples: readonly Pick<Sample, "index" | "name" | "image">[]): GpuArray {
    const read = samples.map((sample) => this.read(sample.index, sample));
    const [, ...rest] = read[0]?.shape ?? [];
    const size = rest.reduce((product, length) => product * length, 1);
    const values = new Float32Array(read.length * size);
    read.forEach(({ data }, at) => values.set(data, at * size));
    return gpu.upload(values, [read.length, ...rest], "soft labels");
  }
}

function fileName(index: number): string {
  return `${String(index).padStart(6, "0")}.safetensors`;
}

/**
 * What tells whether a file was written since; null where it is missing, or so new that another write might
 * leave the same times.
 */
function lookOf(path: string): string | null {
  try {
    const { size, mtime, ctime } = Deno.statSync(path);
    const isNew = !mtime || Date.now() - mtime.getTime() < 2000;
    return isNew ? null : `${size} ${mtime.getTime()} ${ctime?.getTime()}`;
  } catch {
    return null;
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
 * @throws {DataError} If an image cannot be read, a file cannot be written, or the network's output is
 * not finite.
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
  const softLabels = new SoftLabels(folder, { classes: network.classes });
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
