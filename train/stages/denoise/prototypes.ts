// The prototype bank: one feature centroid per class, and what follows from distances to them.

import { accumulateCentroids, meanCentroids, updateCentroids } from "../../../kernels/centroids.ts";
import { type ClassSums, classSums } from "../../../kernels/class_sums.ts";
import { prototypeDistancesForward } from "../../../kernels/prototype_distances.ts";
import {
  type DenoisedLabels,
  denoiseLabels,
  rectifySoftLabels,
} from "../../../kernels/rectification.ts";
import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { prototypeDistances } from "../../../nn/functional/prototypes.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import type { Variant } from "../common/settings.ts";

/** What a bank holds, and how it follows the features. */
export interface PrototypeBankOptions {
  /** K. */
  readonly classes: number;
  /** C, the channels of the features. */
  readonly channels: number;
  /** A class with fewer pixels in an image is skipped in that image; 10 unless given. */
  readonly minimumPixels?: number;
  /** The start: the mean over pixels (paper) or over the class means of images (official). */
  readonly startVariant?: Variant;
  /** The update: once from a batch's means (paper) or once per image, in turn (official). */
  readonly updateVariant?: Variant;
}

/**
 * Prototypes η^(k), the centroids of the classes in feature space (paper, section 3.2).
 *
 * `collect` and `start` set them from a data set (equation 4), `update` moves them (equation 5), and
 * `rectify` turns soft labels into denoised labels (equations 2 and 3). A class that the data set
 * does not have keeps the prototype 0, as in the official code.
 */
export class PrototypeBank {
  /** [K, C]. */
  readonly prototypes: GpuArray;
  readonly #options: Required<PrototypeBankOptions>;
  /** Totals between the first `collect` and `start`. */
  #totals: GpuArray | null = null;

  /** Zeros, until `start` or a checkpoint sets them. */
  constructor(gpu: Gpu, options: PrototypeBankOptions) {
    this.#options = {
      minimumPixels: 10,
      startVariant: "paper",
      updateVariant: "paper",
      ...options,
    };
    this.prototypes = gpu.zeros([options.classes, options.channels], "prototypes");
  }

  /**
   * Adds a batch to the mean that the prototypes start from.
   *
   * @param features [N, C, H, W].
   * @param predictions Predicted classes, [N, H, W].
   * @throws {TypeError} If the shapes do not fit.
   */
  collect(features: GpuArray, predictions: GpuArray<"u32">): void {
    const { classes, channels, minimumPixels, startVariant } = this.#options;
    this.#totals ??= this.prototypes.gpu.zeros([classes, channels + 1, 2], "prototype totals");
    const totals = this.#totals;
    this.#withSums(
      features,
      predictions,
      (sums) =>
        accumulateCentroids(totals, sums, { minimumPixels, perImage: startVariant === "official" }),
    );
  }

  /**
   * Sets the prototypes to the mean of what was collected (equation 4).
   *
   * @throws {Error} If that is nothing.
   */
  start(): void {
    if (!this.#totals) {
      throw new Error(
        "Cannot start prototypes as no features were collected: call collect() first",
      );
    }
    meanCentroids(this.prototypes, this.#totals);
    this.#totals.release();
    this.#totals = null;
  }

  /**
   * Moves the prototypes towards the class means of a batch (equation 5).
   *
   * @param features [N, C, H, W], of the momentum encoder.
   * @param predictions Predicted classes, [N, H, W].
   * @param decay λ, the weight of the old value.
   * @throws {TypeError} If the shapes do not fit.
   * @throws {RangeError} If the decay lies outside [0, 1].
   */
  update(features: GpuArray, predictions: GpuArray<"u32">, decay: number): void {
    const { minimumPixels, updateVariant } = this.#options;
    const perImage = updateVariant === "official";
    this.#withSums(
      features,
      predictions,
      (sums) => updateCentroids(this.prototypes, sums, { decay, minimumPixels, perImage }),
    );
  }

  #withSums(
    features: GpuArray,
    predictions: GpuArray<"u32">,
    use: (sums: ClassSums) => void,
  ): void {
    const sums = classSums(features, predictions, this.#options.classes);
    use(sums);
    sums.sums.release();
    sums.counts.release();
  }

  /**
   * ‖f − η^(k)‖₂ of features [N, C, H, W], as [N, K, H, W].
   *
   * @throws {TypeError} If the shapes do not fit.
   */
  distances(features: GpuArray): GpuArray {
    return prototypeDistancesForward(features, this.prototypes);
  }

  /** {@link PrototypeBank.distances} with a gradient to the features. */
  distancesOf(features: Tensor): Tensor {
    return prototypeDistances(features, this.prototypes);
  }

  /**
   * Denoised labels ŷ (equations 2 and 3) and how sure they are, each [N, H, W].
   *
   * @param softLabels p_{t,0}, [N, K, H, W]; where it is all zero, as outside a view, the pixel is
   *   ignored and its confidence 0.
   * @param distances [N, K, H, W], of the momentum encoder's features.
   * @param temperature τ.
   * @param threshold Pixels whose largest rectified probability is below it are ignored.
   * @throws {TypeError} If the shapes do not fit.
   * @throws {RangeError} If the temperature is not positive.
   */
  rectify(
    softLabels: GpuArray,
    distances: GpuArray,
    temperature: number,
    threshold = 0,
  ): DenoisedLabels {
    return denoiseLabels(softLabels, distances, { temperature, threshold, ignoreLabel: IGNORE });
  }

  /** Rectified soft labels ω p_{t,0} (equations 2 and 3), summing to 1 over classes, [N, K, H, W]. */
  rectifySoft(softLabels: GpuArray, distances: GpuArray, temperature: number): GpuArray {
    return rectifySoftLabels(softLabels, distances, temperature);
  }

  /** The arrays to save and to restore in place. */
  state(): Map<string, GpuArray> {
    return new Map([["centroids", this.prototypes]]);
  }

  /** Frees the prototypes. */
  dispose(): void {
    this.#totals?.release();
    this.#totals = null;
    this.prototypes.release();
  }

  /** Same as {@link PrototypeBank.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
