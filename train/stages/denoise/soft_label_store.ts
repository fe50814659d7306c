// Soft labels p_{t,0}: the warm-up model's probabilities, fixed for the whole of stage 1.

import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { DataError } from "../../base/data_error.ts";
import type { Sample } from "../../data/samples.ts";

/** Probabilities of the classes, [1, K, height, width]. */
export interface Probabilities {
  /** [1, K, height, width]. */
  readonly shape: readonly number[];
  /** The probabilities, class by class, row by row. */
  readonly data: Float32Array;
}

/** Where soft labels are kept from the start of stage 1 on, one for each target image. */
export interface SoftLabelStore {
  /**
   * Keeps the probabilities of samples, [N, K, height, width], by the samples' indices.
   *
   * @throws {DataError} If they are none, or cannot be kept.
   */
  write(samples: readonly Sample[], probabilities: GpuArray): Promise<void>;
  /**
   * The probabilities of item `index`, [1, K, height, width].
   *
   * @throws {DataError} If there are none.
   */
  read(index: number, sample?: Pick<Sample, "name" | "image">): Probabilities;
}

/**
 * Probabilities of samples that have come from the GPU, one by one.
 *
 * @param probabilities [N, K, height, width].
 * @throws {DataError} If they are none.
 */
export async function readProbabilities(
  samples: readonly Sample[],
  probabilities: GpuArray,
): Promise<Probabilities[]> {
  const [, ...rest] = probabilities.shape;
  const values = await probabilities.read();
  const length = values.length / samples.length;
  return samples.map(({ name }, at) => {
    const labels = { shape: [1, ...rest], data: values.slice(at * length, (at + 1) * length) };
    const fault = faultOf(labels);
    if (fault !== null) {
      throw new DataError(
        `Cannot make soft labels of ${name} as ${fault}: expected finite probabilities; start from a ` +
          `network whose training has not diverged`,
      );
    }
    return labels;
  });
}

/**
 * The probabilities of images of one size on the GPU, [N, K, height, width].
 *
 * @param samples With the index that each has in the data set of the labels.
 */
export function uploadSoftLabels(
  gpu: Gpu,
  softLabels: SoftLabelStore,
  samples: readonly Pick<Sample, "index" | "name" | "image">[],
): GpuArray {
  const read = samples.map((sample) => softLabels.read(sample.index, sample));
  const [, ...rest] = read[0]?.shape ?? [];
  const size = rest.reduce((product, length) => product * length, 1);
  const values = new Float32Array(read.length * size);
  read.forEach(({ data }, at) => values.set(data, at * size));
  return gpu.upload(values, [read.length, ...rest], "soft labels");
}

/** Soft labels in memory: of 1000 images of 256×128 and eight classes they take 63 MiB. */
export class SoftLabelsInMemory implements SoftLabelStore {
  readonly #labels = new Map<number, Probabilities>();

  /** See {@link SoftLabelStore.write}. */
  async write(samples: readonly Sample[], probabilities: GpuArray): Promise<void> {
    const read = await readProbabilities(samples, probabilities);
    samples.forEach(({ index }, at) => this.#labels.set(index, read[at]));
  }

  /** See {@link SoftLabelStore.read}. */
  read(index: number): Probabilities {
    const labels = this.#labels.get(index);
    if (!labels) {
      throw new DataError(
        `Cannot read soft labels of image ${index} as there are none: expected those of every target ` +
          `image; make them with labelTarget`,
      );
    }
    return labels;
  }
}

/** By how much the probabilities of a pixel may miss a sum of 1: a hundred times what 255 roundings do. */
const TOLERANCE = 1e-3;

/** Why numbers are no probabilities; null where they are. */
export function faultOf({ shape, data }: Probabilities): string | null {
  const [, classes = 0, height = 0, width = 0] = shape;
  const plane = height * width;
  const sums = new Float32Array(plane);
  for (let k = 0; k < classes; k++) {
    for (let i = 0; i < plane; i++) {
      const p = data[k * plane + i];
      if (!(p >= 0 && p <= 1)) return `${p} is the probability of class ${k} at pixel ${i}`;
      sums[i] += p;
    }
  }
  const at = sums.findIndex((sum) => Math.abs(sum - 1) > TOLERANCE);
  return at < 0 ? null : `the probabilities of pixel ${at} add up to ${sums[at]}: expected 1`;
}
