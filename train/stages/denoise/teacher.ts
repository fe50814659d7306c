// The teacher of stage 1: what the momentum encoder and the prototypes say about target images.

import { labelQuality } from "../../../kernels/label_quality.ts";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import {
  warpLabelMaps,
  warpMaps,
  warpMask,
  warpNearestMaps,
  type WarpView,
} from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import type { TargetViews, WholeImages } from "../common/batch.ts";
import { type Pasted, pastedIn, withPasted } from "./class_mix.ts";
import type { PrototypeBank } from "./prototypes.ts";
import type { DenoiseChoices, DenoiseSettings } from "./settings.ts";
import { lookAt, seeWeak, seeWhole, type Sight, sizeOf } from "./sight.ts";
import { labelTargetPixels, type TargetLabels } from "./target_labels.ts";

/** Unlabelled target images. */
export interface TargetBatch extends TargetViews {
  /** The fixed p_{t,0} in the frame of the weak view at a quarter of its size, [N, K, H/4, W/4]. */
  readonly softLabels: GpuArray;
  /** The whole images, where the momentum encoder sees those. */
  readonly whole?: WholeImages;
  /** Where classes are mixed: what is pasted into the view that labels are learnt on. */
  readonly pasted?: Pasted;
  /** Where masked images are learnt: the strong view of the target alone, partly hidden, [N, 3, H, W]. */
  readonly masked?: GpuArray;
}

/** What the momentum encoder says about a batch. */
export type Teaching = {
  /** Labels in the frame of the view that they are learnt on, [N, H/4, W/4]. */
  readonly labels: GpuArray<"u32">;
  /** Their probabilities, [N, K, H/4, W/4], where labels are soft. */
  readonly soft: GpuArray | null;
  /** What the losses of the labels are multiplied by, [N, H/4, W/4]; null for 1. */
  readonly weights: GpuArray | null;
  /** Labels of the target alone in the frame of the strong view, where masked images are learnt. */
  readonly maskedLabels: GpuArray<"u32"> | null;
  /** What their losses are multiplied by, [N, H/4, W/4]; null for 1. */
  readonly maskedWeights: GpuArray | null;
  /** Distances of the weak features to the prototypes, in the frame of the strong view, [N, K, H/4, W/4]. */
  readonly distances: GpuArray;
  /** Not zero where both views see the pixel, in the frame of the strong view, [N, H/4, W/4]. */
  readonly mask: GpuArray;
  /** Sums of the features that move the prototypes, [N, K, C], and how many they are, [N, K]. */
  readonly sums: GpuArray;
  readonly counts: GpuArray;
};

/** Labels target images. */
export class Teacher {
  readonly #encoder: DeepLab;
  readonly #bank: PrototypeBank;
  readonly #options: DenoiseChoices & Pick<DenoiseSettings, "temperature">;
  readonly #stage: string;

  /**
   * A teacher of what is the stage's and moves with it.
   *
   * @param encoder The momentum encoder.
   * @param stage The stage's name, for errors.
   */
  constructor(
    encoder: DeepLab,
    bank: PrototypeBank,
    options: DenoiseChoices & Pick<DenoiseSettings, "temperature">,
    stage: string,
  ) {
    this.#encoder = encoder;
    this.#bank = bank;
    this.#options = options;
    this.#stage = stage;
  }

  /**
   * Labels of images as the stage now makes them (eq. 2), [N, h, w].
   *
   * @param images [N, 3, H, W].
   * @param softLabels p_{t,0} in the frame of the images, [N, K, h, w].
   */
  denoise(images: GpuArray, softLabels: GpuArray): GpuArray<"u32"> {
    return noGrad(() =>
      scope(() => {
        const { logits, features } = lookAt(this.#encoder, images, sizeOf(softLabels));
        const sight = { logits: logits.array, features: features.array };
        const { labels, confidence, soft, distances } = this.#label(sight, softLabels);
        for (const array of [confidence, soft, distances]) array?.release();
        return labels;
      })
    );
  }

  /** Equations 2, 3 and 7, and the sums that move the prototypes. */
  teach(target: TargetBatch): Teaching {
    const { encoderView, studentView, distanceWarp, padding } = this.#options;
    const { mix, maskedWeight, qualityThreshold } = this.#options;
    const { softLabels, strongViews } = target;
    const size = sizeOf(softLabels);
    const isStrong = studentView === "strong";
    const isMasked = maskedWeight > 0;
    if (mix !== "none" && !target.pasted) throw this.#missing("target.pasted", "mix", "none");
    if (isMasked && !target.masked) throw this.#missing("target.masked", "maskedWeight", 0);
    return noGrad(() =>
      scope(() => {
        const sight = encoderView === "whole"
          ? seeWhole(this.#encoder, this.#bank, target, this.#stage)
          : seeWeak(this.#encoder, this.#bank, target, padding);
        const { labels, soft, confidence, distances } = this.#label(sight, softLabels);
        const views = strongViews.map((view) => view.mapView(size, size));
        const warp = distanceWarp === "nearest" ? warpNearestMaps : warpMaps;
        // One number an image, which is the same in every frame.
        const quality = qualityThreshold > 0 ? labelQuality(confidence, qualityThreshold) : null;
        const teaching = {
          labels: isStrong ? warpLabelMaps(labels, views, size) : labels.retain(),
          soft: soft && (isStrong ? warpMaps(soft, views, size) : soft.retain()),
          weights: quality,
          maskedLabels: isMasked ? warpLabelMaps(labels, views, size) : null,
          maskedWeights: isMasked && quality ? quality.retain() : null,
          distances: warp(distances, views, size),
          mask: padding === "masked"
            ? seenInBoth(confidence, views)
            : warpMask(confidence.gpu, views, size, size),
          sums: sight.sums,
          counts: sight.counts,
        };
        const { logits, features } = sight;
        for (const array of [labels, soft, confidence, distances, logits, features]) {
          array?.release();
        }
        if (!target.pasted) return teaching;
        using pasted = pastedIn(studentView, target.pasted, target, size);
        return withPasted(teaching, pasted, studentView);
      })
    );
  }

  /** Equations 2 and 3. */
  #label(
    { logits, features }: Pick<Sight, "logits" | "features">,
    softLabels: GpuArray,
  ): TargetLabels & { readonly distances: GpuArray } {
    const distances = this.#bank.distances(features);
    return {
      ...labelTargetPixels({ softLabels, logits, distances }, this.#options),
      distances,
    };
  }

  /** What a batch lacks that the settings ask for. */
  #missing(name: string, setting: string, otherwise: string | number): TypeError {
    return new TypeError(
      `Cannot run ${this.#stage} as its ${setting} needs ${name} and the batch has none: give it, or ` +
        `set ${setting} to ${otherwise}`,
    );
  }
}

/**
 * Not zero where the strong view sees a pixel that the weak view sees too: outside the image the soft
 * label is all zero, and so is its confidence, [N, h, w].
 */
function seenInBoth(confidence: GpuArray, views: readonly WarpView[]): GpuArray {
  const [images = 0, height = 0, width = 0] = confidence.shape;
  using channel = confidence.view([images, 1, height, width]);
  using warped = warpMaps(channel, views, { height, width });
  return warped.view(confidence.shape);
}
