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
import { type Pass, type Share, weighed } from "../common/accumulate.ts";
import type { SourceBatch, TargetViews } from "../common/batch.ts";
import { regulariser, softSymmetricLoss, structureLoss, symmetricLoss } from "../common/losses.ts";
import { labelled, sourcePass } from "../common/source_pass.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type Stage,
} from "../common/stage.ts";
import type { PrototypeBank } from "./prototypes.ts";
import { AS_IN_THE_PAPER, type DenoiseChoices, type DenoiseSettings } from "./settings.ts";
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
  readonly #options: DenoiseOptions & DenoiseChoices;

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
    this.#options = { ...AS_IN_THE_PAPER, ...options };
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
    const trainer = this.#trainer;
    trainer.begin(step);
    const tracks = this.#options.statistics !== "target";
    const losses = {
      ...trainer.learn(source, sourcePass(this.network, tracks)),
      ...trainer.learn(target, this.#targetPass),
    };
    trainer.update(step);
    updateEma(this.#encoder, this.network, this.#options.emaDecay);
    return losses;
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

  /** The target terms of equation 11, and the update of the prototypes (equation 5). */
  readonly #targetPass: Pass<DenoiseBatch["target"], Teaching, "labelled" | "seen", Losses> = {
    prepare: (images) => this.#teach(images),
    counted: ({ labels, mask }) => ({
      labelled: labelled(labels, this.network),
      seen: { pixels: mask, rule: "not zero" },
    }),
    learn: (images, shares) => this.#learn(images, shares),
    conclude: ({ features, predictions }) =>
      this.#bank.update(features, predictions, this.#options.prototypeDecay),
  };

  /** Equations 2, 3 and 7, and the features that move the prototypes. */
  #teach({ weak, softLabels, strongViews }: DenoiseBatch["target"]): Teaching {
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

  /** Equations 6, 9 and 10, summed as in equation 11. */
  #learn(
    { weak, strong, ...teaching }: DenoiseBatch["target"] & Teaching,
    shares: Readonly<Record<"labelled" | "seen" | "images", Share>>,
  ): Losses {
    const { gamma1, gamma2, temperature, normalisation, studentView } = this.#options;
    const size = sizeOf(teaching.distances);
    return scope(() => {
      const look = lookAt(this.network, studentView === "weak" ? weak : strong, size);
      const symmetric = weighed(this.#labelLoss(look.logits, teaching), shares.labelled);
      const prior = weighed(regulariser(look.logits, { normalisation }), shares.images);
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
