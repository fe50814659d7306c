// The prototype bank: one feature centroid per class, and what follows from distances to them.

import {
  accumulateCentroids,
  meanCentroids,
  runningCentroids,
  updateCentroids,
} from "../../../kernels/centroids.ts";
import { type ClassSums, classSums } from "../../../kernels/class_sums.ts";
import { gatherRows, sumOverPeers } from "../../../kernels/peers.ts";
import { prototypeDistancesForward } from "../../../kernels/prototype_distances.ts";
import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { prototypeDistances } from "../../../nn/functional/prototypes.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import type { Variant } from "../common/settings.ts";

/** What a bank holds, and how it follows the features. */
export interface PrototypeBankOptions {
  /** K. */
  readonly classes: number;
  /** C, the channels of the features. */
  readonly channels: number;
  /** A class with fewer pixels in an image is skipped in that image; 10 unless given. */
  readonly minimumPixels?: number;
  /**
   * The start: the mean over pixels (paper), or a running one over the class means of images, in which
   * at most 3000 images before count (official).
   */
  readonly startVariant?: Variant;
  /** The update: once from a batch's means (paper) or once per image, in turn (official). */
  readonly updateVariant?: Variant;
}

/**
 * Prototypes η^(k), the centroids of the classes in feature space (paper, section 3.2).
 *
 * `collect` and `start` set them from a data set (equation 4), `update` moves them (equation 5). What
 * follows from the distances of features is labels in `target_labels.ts` (equations 2 and 3), and the
 * structure loss (equations 7 to 9). A class that the data set does not have keeps the prototype 0, as
 * in the official code.
 */
export class PrototypeBank {
  /** [K, C]. */
  readonly prototypes: GpuArray;
  readonly #options: Required<PrototypeBankOptions>;
  /** Totals, or numbers of images, between the first `collect` and `start`. */
  #collected: GpuArray | null = null;

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
   * Adds a batch to the mean that the prototypes start from. With peers, in the official way, all add as many
   * images at the same time: it takes them one after the other.
   *
   * @param features [N, C, H, W].
   * @param predictions Predicted classes, [N, H, W]; ids that are no class count for none.
   * @throws {TypeError} If the shapes do not fit.
   */
  collect(features: GpuArray, predictions: GpuArray<"u32">): void {
    const { minimumPixels, startVariant } = this.#options;
    const sums = this.sums(features, predictions);
    if (startVariant === "official") {
      this.#collected ??= this.#nothing();
      const options = { minimumPixels, most: MOST_IMAGES };
      using sumsOfAll = gatherRows(sums.sums);
      using countsOfAll = gatherRows(sums.counts);
      const ofAll = { sums: sumsOfAll, counts: countsOfAll };
      runningCentroids(this.prototypes, this.#collected, ofAll, options);
    } else {
      this.#collected ??= this.#nothing();
      accumulateCentroids(this.#collected, sums, { minimumPixels, perImage: false });
    }
    releaseSums(sums);
  }

  /**
   * Sets the prototypes to the mean of what was collected (equation 4), by all peers.
   *
   * @throws {Error} If that is nothing.
   */
  start(): void {
    const { gpu } = this.prototypes;
    if (!this.#collected && gpu.peers) this.#collected = this.#nothing(); // peers have all images
    if (!this.#collected) {
      throw new Error(
        "Cannot start prototypes as no features were collected: call collect() first",
      );
    }
    if (this.#options.startVariant === "paper") {
      sumOverPeers([this.#collected]);
      meanCentroids(this.prototypes, this.#collected);
    }
    this.#collected.release();
    this.#collected = null;
  }

  /**
   * Moves the prototypes towards the class means of a batch (equation 5).
   *
   * @param features [N, C, H, W], of the momentum encoder.
   * @param predictions Predicted classes, [N, H, W]; ids that are no class count for none.
   * @param decay λ, the weight of the old value.
   * @throws {TypeError} If the shapes do not fit.
   * @throws {RangeError} If the decay lies outside [0, 1].
   */
  update(features: GpuArray, predictions: GpuArray<"u32">, decay: number): void {
    const sums = this.sums(features, predictions);
    this.move(sums, decay);
    releaseSums(sums);
  }

  /** What is collected before the first batch. */
  #nothing(): GpuArray {
    const { classes, channels, startVariant } = this.#options;
    const { gpu } = this.prototypes;
    return startVariant === "official"
      ? gpu.zeros([classes], "images in the prototypes")
      : gpu.zeros([classes, channels + 1, 2], "prototype totals");
  }

  /** The class sums of features [N, C, H, W] for {@link PrototypeBank.move}; release them. */
  sums(features: GpuArray, predictions: GpuArray<"u32">): ClassSums {
    return classSums(features, predictions, this.#options.classes);
  }

  /** {@link PrototypeBank.update} from the class sums of a batch, and of its peers'; they stay the caller's. */
  move({ sums, counts }: ClassSums, decay: number): void {
    const { minimumPixels, updateVariant } = this.#options;
    const options = { decay, minimumPixels, perImage: updateVariant === "official" };
    using sumsOfAll = gatherRows(sums);
    using countsOfAll = gatherRows(counts);
    updateCentroids(this.prototypes, { sums: sumsOfAll, counts: countsOfAll }, options);
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

  /** The arrays to save and to restore in place. */
  state(): Map<string, GpuArray> {
    return new Map([["centroids", this.prototypes]]);
  }

  /** Frees the prototypes. */
  dispose(): void {
    this.#collected?.release();
    this.#collected = null;
    this.prototypes.release();
  }

  /** Same as {@link PrototypeBank.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Of the images before, in the official start. */
const MOST_IMAGES = 3000;

function releaseSums({ sums, counts }: ClassSums): void {
  sums.release();
  counts.release();
}
