// Stage 1: pseudo-label denoising and target-structure learning (paper, sections 3.2 and 3.3).

import { argmax } from "../../../kernels/argmax.ts";
import type { Size } from "../../../kernels/planes.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps, type WarpView } from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { updateEma } from "../../../nn/ema.ts";
import { BatchNorm2d } from "../../../nn/layers.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { backward, input, noGrad, scope } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import {
  regulariser,
  softSymmetricLoss,
  structureLoss,
  symmetricLoss,
  type Variant,
} from "../common/losses.ts";
import type { PrototypeBank } from "./prototypes.ts";
import type { ViewTransform } from "../../views/views.ts";
import {
  addedLosses,
  byParts,
  joined,
  type Share,
  sharesOf,
  weighed,
} from "../common/accumulate.ts";
import { releaseBatch } from "../common/batch.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type SourceBatch,
  type Stage,
} from "../common/stage.ts";
import { labelTargetPixels, type TargetLabelOptions, type TargetLabels } from "./target_labels.ts";

/** Settings of stage 1. Equations are the paper's. */
export interface DenoiseOptions extends OptimiserOptions, TargetLabelOptions {
  /** Weight of cross entropy in the symmetric loss, α (eq. 6). */
  readonly alpha: number;
  /** Weight of reverse cross entropy, β (eq. 6). */
  readonly beta: number;
  /** Weight of the structure loss, γ1 (eq. 11); it is not computed where this is 0. */
  readonly gamma1: number;
  /** Weight of the regulariser, γ2 (eq. 11). */
  readonly gamma2: number;
  /** Weight of a prototype's old value, λ (eq. 5). */
  readonly prototypeDecay: number;
  /** Weight of the momentum encoder's old value. */
  readonly emaDecay: number;
  /**
   * What the momentum encoder's batch norms use: the statistics of the target batch, as the official
   * code does, or the student's running ones, which mix both domains. It never has dropout here.
   */
  readonly encoderStatistics: "batch" | "running";
  /**
   * Whose images move the running statistics of the network's batch norms, which evaluation uses: both
   * domains' (default), or the target's alone, which is what the network is for.
   */
  readonly statistics?: "both" | "target";
  /** Whether structure loss and regulariser are means over pixels (paper), or over classes too (official). */
  readonly normalisation: Variant;
  /**
   * The view on which the network learns the labels, and which the regulariser is of: the strong one
   * unless given. The released code takes the weak one in stage 1, and the strong one for the structure
   * loss only.
   */
  readonly studentView?: "weak" | "strong";
}

/** What a step takes. */
export interface DenoiseBatch {
  /** Labelled source images. */
  readonly source: SourceBatch;
  /** Two views of unlabelled target images. */
  readonly target: {
    /** The weak view T(x), [N, 3, H, W]. */
    readonly weak: GpuArray;
    /** The strong view T'(x), made from the weak one, [N, 3, H, W]. */
    readonly strong: GpuArray;
    /** From weak to strong, one an image. */
    readonly strongViews: readonly ViewTransform[];
    /** The fixed p_{t,0} in the frame of the weak view at a quarter of its size, [N, K, H/4, W/4]. */
    readonly softLabels: GpuArray;
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
  /** Features of the weak view, [N, C, H/4, W/4], and the classes predicted there. */
  readonly features: GpuArray;
  readonly predictions: GpuArray<"u32">;
};

/** What a network makes of a view, at a quarter of its size. */
interface Look {
  readonly logits: Tensor;
  readonly features: Tensor;
}

/**
 * Trains on source labels and on target labels that are denoised by the distances to prototypes,
 * while weak and strong views of a target image are made to agree on their assignments.
 */
export class Denoise implements Stage<DenoiseBatch> {
  /** Name in logs and results. */
  readonly name = "stage1";
  /** The network that is trained. */
  readonly network: DeepLab;
  readonly #encoder: DeepLab;
  readonly #bank: PrototypeBank;
  readonly #trainer: NetworkTrainer;
  readonly #options: DenoiseOptions;

  /**
   * Starts a fresh optimiser.
   *
   * @param network Starts from the warm-up weights; stays the caller's.
   * @param encoder The momentum encoder f̃, a copy of the network; passes to the stage.
   * @param bank Prototypes of the warm-up model's target features (eq. 4); passes to the stage.
   */
  constructor(
    network: DeepLab,
    encoder: DeepLab,
    bank: PrototypeBank,
    options: DenoiseOptions,
  ) {
    this.network = network;
    this.#encoder = encoder;
    this.#bank = bank;
    this.#options = options;
    this.#trainer = new NetworkTrainer(network, options);
    encoder.eval();
    if (options.encoderStatistics === "batch") useBatchStatistics(encoder);
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  /**
   * One optimiser update; its losses are `source`, `symmetric`, `structure` and `regulariser`, without the
   * structure loss where its weight is 0.
   */
  step({ source, target }: DenoiseBatch, step: number): Losses {
    this.#trainer.begin(step);
    const tracks = this.#options.statistics !== "target";
    const sourceTerm = this.#trainer.learnSource(source, { tracks });
    const teaching = this.#teach(target);
    const targetTerms = this.#learn(target, teaching);
    this.#trainer.update(step);
    this.#bank.update(teaching.features, teaching.predictions, this.#options.prototypeDecay);
    updateEma(this.#encoder, this.network, this.#options.emaDecay);
    for (const array of Object.values(teaching)) array?.release();
    return { source: sourceTerm, ...targetTerms };
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
        const { labels, confidence, soft, distances } = this.#label(images, softLabels);
        for (const array of [confidence, soft, distances]) array?.release();
        return labels;
      })
    );
  }

  /** Equations 2 and 3, and what they follow from. */
  #label(
    images: GpuArray,
    softLabels: GpuArray,
  ): TargetLabels & { readonly distances: GpuArray; readonly look: Look } {
    const look = lookAt(this.#encoder, images, sizeOf(softLabels));
    const distances = this.#bank.distances(look.features.array);
    const evidence = { softLabels, logits: look.logits.array, distances };
    return { ...labelTargetPixels(evidence, this.#options), distances, look };
  }

  /** Equations 2, 3 and 7, and the features that move the prototypes, of the whole batch. */
  #teach(target: DenoiseBatch["target"]): Teaching {
    return joined(byParts(target, this.#trainer.parts, (part) => this.#teachPart(part)));
  }

  /** A part of {@link Denoise.#teach}. */
  #teachPart({ weak, softLabels, strongViews }: DenoiseBatch["target"]): Teaching {
    const size = sizeOf(softLabels);
    const isStrong = this.#options.studentView !== "weak";
    return noGrad(() =>
      scope(() => {
        const { labels, soft, confidence, distances, look } = this.#label(weak, softLabels);
        const predictions = argmax(look.logits.array);
        predictions.confidence.release();
        const views = strongViews.map((view) => view.mapView(size, size));
        const teaching = {
          labels: isStrong ? warpLabelMaps(labels, views, size) : labels.retain(),
          soft: soft && (isStrong ? warpMaps(soft, views, size) : soft.retain()),
          distances: warpMaps(distances, views, size),
          mask: seenInBoth(confidence, views),
          features: look.features.array.retain(),
          predictions: predictions.labels,
        };
        for (const array of [labels, soft, confidence, distances]) array?.release();
        return teaching;
      })
    );
  }

  /** The target terms of equation 11. */
  #learn({ weak, strong }: DenoiseBatch["target"], teaching: Teaching): Losses {
    const { parts } = this.#trainer;
    const labelled = this.#trainer.labelShares(teaching.labels);
    const seen = sharesOf(teaching.mask, parts, "not zero");
    const losses = byParts(
      { weak, strong, teaching },
      parts,
      (part, index) =>
        this.#learnPart(part, {
          labelled: labelled[index] as Share,
          seen: seen[index] as Share,
          all: 1 / parts,
        }),
    );
    releaseBatch([labelled, seen]);
    return addedLosses(losses);
  }

  /** A part of {@link Denoise.#learn}, and its shares in the pixels that the losses count. */
  #learnPart(
    { weak, strong, teaching }: { weak: GpuArray; strong: GpuArray; teaching: Teaching },
    shares: Readonly<Record<"labelled" | "seen" | "all", Share>>,
  ): Losses {
    const { gamma1, gamma2, temperature, normalisation, studentView } = this.#options;
    const size = sizeOf(teaching.distances);
    return scope(() => {
      const look = lookAt(this.network, studentView === "weak" ? weak : strong, size);
      const symmetric = weighed(this.#labelLoss(look.logits, teaching), shares.labelled);
      const prior = weighed(regulariser(look.logits, { normalisation }), shares.all);
      const structure = gamma1 === 0 ? null : weighed(
        structureLoss(
          this.#bank.distancesOf(
            studentView === "weak" ? lookAt(this.network, strong, size).features : look.features,
          ),
          teaching.distances,
          teaching.mask,
          { temperature, normalisation },
        ),
        shares.seen,
      );
      backward(
        sum(symmetric, ...(structure ? [scale(structure, gamma1)] : []), scale(prior, gamma2)),
      );
      return {
        symmetric: symmetric.array.retain(),
        ...(structure && { structure: structure.array.retain() }),
        regulariser: prior.array.retain(),
      };
    });
  }

  /** ℓ_sce of equation 6. */
  #labelLoss(logits: Tensor, { labels, soft }: Teaching): Tensor {
    const { alpha, beta } = this.#options;
    return soft
      ? softSymmetricLoss(logits, soft, labels, { alpha, beta })
      : symmetricLoss(logits, labels, { alpha, beta });
  }

  /** The arrays of the network, its optimiser, the momentum encoder and the prototypes. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...this.#trainer.state(),
      ...prefixed("encoder", this.#encoder.stateDict()),
      ...prefixed("prototypes", this.#bank.state()),
    ]);
  }

  /** Frees everything but the network. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
    this.#encoder.dispose();
    this.#bank.dispose();
  }
}

/** Runs a network and resizes what it says. */
function lookAt(network: DeepLab, images: GpuArray, size: Size): Look {
  const { features, logits } = network.forward(input(images));
  return { features: resizeBilinear(features, size), logits: resizeBilinear(logits, size) };
}

function sizeOf({ shape: [, , height = 0, width = 0] }: GpuArray): Size {
  return { height, width };
}

function sum(...terms: Tensor[]): Tensor {
  return terms.reduce(add);
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

/** Batch norms as in training, everything else as in evaluation. */
function useBatchStatistics(network: DeepLab): void {
  for (const [, module] of network.namedModules()) {
    if (module instanceof BatchNorm2d) module.training = true;
  }
}
