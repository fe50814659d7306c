// Stage 1: pseudo-label denoising and target-structure learning (paper, sections 3.2 and 3.3).

import type { Size } from "../../../kernels/planes.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import {
  warpLabelMaps,
  warpMaps,
  warpMask,
  warpNearestMaps,
  type WarpView,
} from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { updateEma } from "../../../nn/ema.ts";
import { BatchNorm2d, Dropout2d } from "../../../nn/layers.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { type Pass, type Share, weighed } from "../common/accumulate.ts";
import type { SourceBatch, TargetViews, WholeImages } from "../common/batch.ts";
import { regulariser, softSymmetricLoss, structureLoss, symmetricLoss } from "../common/losses.ts";
import { labelled, sourcePass } from "../common/source_pass.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type Stage,
} from "../common/stage.ts";
import { anchoredPass, type FeatureAnchor } from "./anchor.ts";
import type { PrototypeBank } from "./prototypes.ts";
import { AS_IN_THE_PAPER, type DenoiseChoices, type DenoiseSettings } from "./settings.ts";
import { type Look, lookAt, seeWeak, seeWhole, type Sight, sizeOf } from "./sight.ts";
import { labelTargetPixels, type TargetLabels } from "./target_labels.ts";

/**
 * How stage 1 is done: what every stage takes, and its settings, of which the choices of the paper need
 * not be given. How prototypes start and move is the bank's affair.
 */
export type DenoiseOptions =
  & OptimiserOptions
  & Readonly<Omit<DenoiseSettings, "steps" | keyof typeof AS_IN_THE_PAPER>>
  & Readonly<Partial<Omit<DenoiseChoices, "prototypeStart" | "prototypeUpdate">>>;

/** What a step takes. */
export interface DenoiseBatch {
  /** Labelled source images. */
  readonly source: SourceBatch;
  /** Two views of unlabelled target images. */
  readonly target: TargetViews & {
    /** The fixed p_{t,0} in the frame of the weak view at a quarter of its size, [N, K, H/4, W/4]. */
    readonly softLabels: GpuArray;
    /** The whole images, where the momentum encoder sees those. */
    readonly whole?: WholeImages;
  };
}

/** What the momentum encoder says about a batch. */
type Teaching = {
  /** Labels in the frame of the view that they are learnt on, [N, H/4, W/4]. */
  readonly labels: GpuArray<"u32">;
  /** Their probabilities, [N, K, H/4, W/4], where labels are soft. */
  readonly soft: GpuArray | null;
  /** Distances of the weak features to the prototypes, in the frame of the strong view, [N, K, H/4, W/4]. */
  readonly distances: GpuArray;
  /** Not zero where both views see the pixel, in the frame of the strong view, [N, H/4, W/4]. */
  readonly mask: GpuArray;
  /** Sums of the features that move the prototypes, [N, K, C], and how many they are, [N, K]. */
  readonly sums: GpuArray;
  readonly counts: GpuArray;
};

/** A term of equation 11, of what the network makes of a view. */
type Term = (look: Look) => {
  readonly name: string;
  readonly weight: number;
  readonly loss: Tensor;
};

/** Keeps the encoder's dropout from dropping what the network's does. */
const ENCODER_SEED = 0x5eed;

/**
 * Trains on source labels and on target labels that are denoised by the distances to prototypes,
 * while weak and strong views of a target image are made to agree on their assignments.
 */
export class Denoise implements Stage<DenoiseBatch> {
  /** Name in logs and results. */
  readonly name: string;
  /** The network that is trained. */
  readonly network: DeepLab;
  readonly #encoder: DeepLab;
  readonly #bank: PrototypeBank;
  readonly #anchor: FeatureAnchor | null;
  readonly #trainer: NetworkTrainer;
  readonly #options: DenoiseOptions & DenoiseChoices;

  /**
   * Starts a fresh optimiser.
   *
   * @param network Starts from the warm-up weights; stays the caller's.
   * @param encoder The momentum encoder f̃, a copy of the network; passes to the stage.
   * @param bank Prototypes of the warm-up model's target features (eq. 4); passes to the stage.
   * @param anchor What features of things are kept near to, where `featureDistance` is not 0; passes to
   *   the stage.
   * @throws {TypeError} If there should be an anchor and is none.
   */
  constructor(
    network: DeepLab,
    encoder: DeepLab,
    bank: PrototypeBank,
    options: DenoiseOptions,
    name = "stage1",
    anchor: FeatureAnchor | null = null,
  ) {
    this.name = name;
    this.network = network;
    this.#encoder = encoder;
    this.#bank = bank;
    this.#anchor = anchor;
    this.#options = { ...AS_IN_THE_PAPER, ...options };
    if (this.#options.featureDistance > 0 && !anchor) {
      throw new TypeError(
        `Cannot keep features near to an anchor with weight ${this.#options.featureDistance} as there ` +
          `is none: give one, or set featureDistance to 0`,
      );
    }
    this.#trainer = new NetworkTrainer(network, options);
    encoder.eval();
    for (const [, module] of encoder.namedModules()) {
      const isTrained = module instanceof BatchNorm2d
        ? this.#options.encoderStatistics === "batch"
        : module instanceof Dropout2d && this.#options.encoderDropout;
      if (isTrained) module.training = true;
    }
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  /**
   * One optimiser update; its losses are `source`, `distance`, `symmetric`, `structure` and `regulariser`,
   * without the structure loss where its weight is 0, and without the distance where there is no anchor.
   */
  step({ source, target }: DenoiseBatch, step: number): Losses {
    const trainer = this.#trainer;
    trainer.begin(step);
    this.#encoder.setStep(this.#options.seed ^ ENCODER_SEED, step);
    const losses = {
      ...this.#learnSource(source),
      ...trainer.learn(target, this.#targetPass),
    };
    trainer.update(step);
    updateEma(this.#encoder, this.network, this.#options.emaDecay);
    return losses;
  }

  #learnSource(source: SourceBatch): Losses {
    const { statistics, featureDistance } = this.#options;
    const [trainer, anchor, tracks] = [this.#trainer, this.#anchor, statistics !== "target"];
    return anchor
      ? trainer.learn(source, anchoredPass(trainer, anchor, featureDistance, tracks))
      : trainer.learn(source, sourcePass(trainer, tracks));
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

  /** The target terms of equation 11, and the update of the prototypes (equation 5). */
  readonly #targetPass: Pass<DenoiseBatch["target"], Teaching, "labelled" | "seen", Losses> = {
    prepare: (images) => this.#teach(images),
    counted: ({ labels, mask }) => ({
      labelled: labelled(labels, this.network),
      seen: { pixels: mask, rule: "not zero" },
    }),
    learn: (images, shares) => this.#learn(images, shares),
    conclude: (sums) => this.#bank.move(sums, this.#options.prototypeDecay),
  };

  /** Equations 2, 3 and 7, and the sums that move the prototypes. */
  #teach(target: DenoiseBatch["target"]): Teaching {
    const { studentView, distanceWarp, padding } = this.#options;
    const { softLabels, strongViews } = target;
    const size = sizeOf(softLabels);
    const isStrong = studentView === "strong";
    return noGrad(() =>
      scope(() => {
        const sight = this.#options.encoderView === "whole"
          ? seeWhole(this.#encoder, this.#bank, target, this.name)
          : seeWeak(this.#encoder, this.#bank, target, padding);
        const { labels, soft, confidence, distances } = this.#label(sight, softLabels);
        const views = strongViews.map((view) => view.mapView(size, size));
        const warp = distanceWarp === "nearest" ? warpNearestMaps : warpMaps;
        const teaching = {
          labels: isStrong ? warpLabelMaps(labels, views, size) : labels.retain(),
          soft: soft && (isStrong ? warpMaps(soft, views, size) : soft.retain()),
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
        return teaching;
      })
    );
  }

  /** Equations 6, 9 and 10, summed as in equation 11. */
  #learn(
    { weak, strong, ...teaching }: DenoiseBatch["target"] & Teaching,
    shares: Readonly<Record<"labelled" | "seen" | "images", Share>>,
  ): Losses {
    const { gamma1, gamma2, temperature, normalisation, studentView } = this.#options;
    const { distances, mask } = teaching;
    const size = sizeOf(distances);
    const symmetric: Term = ({ logits }) => ({
      name: "symmetric",
      weight: 1,
      loss: weighed(this.#labelLoss(logits, teaching), shares.labelled),
    });
    const structure: Term = ({ features }) => {
      const assigned = this.#bank.distancesOf(features);
      const loss = structureLoss(assigned, distances, mask, { temperature, normalisation });
      return { name: "structure", weight: gamma1, loss: weighed(loss, shares.seen) };
    };
    const prior: Term = ({ logits }) => ({
      name: "regulariser",
      weight: gamma2,
      loss: weighed(regulariser(logits, { normalisation }), shares.images),
    });
    const ofStrong = gamma1 === 0 ? [] : [structure];
    const learn = (view: GpuArray, ...terms: Term[]) =>
      terms.length === 0 ? {} : learnFrom(this.#trainer, view, size, terms);
    const { regulariser: last, ...losses } = studentView === "strong"
      ? learn(strong, symmetric, ...ofStrong, prior)
      // One view after the other, so that the activations of one alone are held.
      : { ...learn(weak, symmetric, prior), ...learn(strong, ...ofStrong) };
    return { ...losses, regulariser: last }; // in the order of equation 11
  }

  /** ℓ_sce of equation 6. */
  #labelLoss(logits: Tensor, { labels, soft }: Teaching): Tensor {
    const { alpha, beta } = this.#options;
    return soft
      ? softSymmetricLoss(logits, soft, labels, { alpha, beta })
      : symmetricLoss(logits, labels, { alpha, beta });
  }

  /** The arrays of the network, its optimiser, the momentum encoder, the prototypes and the anchor. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...this.#trainer.state(),
      ...prefixed("encoder", this.#encoder.stateDict()),
      ...prefixed("prototypes", this.#bank.state()),
      ...this.#anchor?.state() ?? [],
    ]);
  }

  /** Frees everything but the network. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
    this.#encoder.dispose();
    this.#bank.dispose();
    this.#anchor?.[Symbol.dispose]();
  }
}

/** Adds the gradients of what a network makes of a view; the losses without their weights. */
function learnFrom(
  trainer: NetworkTrainer,
  view: GpuArray,
  size: Size,
  terms: readonly Term[],
): Losses {
  return scope(() => {
    const look = lookAt(trainer.network, view, size);
    const losses = terms.map((term) => term(look));
    trainer.backward(losses.map(({ loss, weight }) => scale(loss, weight)).reduce(add));
    return Object.fromEntries(losses.map(({ name, loss }) => [name, loss.array.retain()]));
  });
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
