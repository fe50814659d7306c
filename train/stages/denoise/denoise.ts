// Stage 1: pseudo-label denoising and target-structure learning (paper, sections 3.2 and 3.3).

import type { Size } from "../../../kernels/planes.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { updateEma } from "../../../nn/ema.ts";
import { BatchNorm2d, Dropout2d } from "../../../nn/layers.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { scope } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { type Pass, type Share, weighed } from "../common/accumulate.ts";
import type { SourceBatch } from "../common/batch.ts";
import {
  maskedLoss,
  regulariser,
  softSymmetricLoss,
  structureLoss,
  symmetricLoss,
} from "../common/losses.ts";
import { labelled, sourcePass, withoutTracking } from "../common/source_pass.ts";
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
import { type Look, lookAt, sizeOf } from "./sight.ts";
import { type TargetBatch, Teacher, type Teaching } from "./teacher.ts";

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
  readonly target: TargetBatch;
}

/** The shares of a part of a batch in what losses are means over. */
type Shares = Readonly<Record<"labelled" | "seen" | "masked", Share>>;

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
  readonly #teacher: Teacher;
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
    this.#teacher = new Teacher(encoder, bank, this.#options, name);
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
   * One optimiser update; its losses are `source`, `symmetric`, `structure`, `regulariser` and `masked`,
   * without `structure` and `masked` where their weights are 0, and with `distance` where there is an
   * anchor.
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
    return this.#teacher.denoise(images, softLabels);
  }

  /** The target terms of equation 11, and the update of the prototypes (equation 5). */
  readonly #targetPass: Pass<TargetBatch, Teaching, keyof Shares, Losses> = {
    prepare: (images) => this.#teacher.teach(images),
    counted: ({ labels, mask, maskedLabels }) => ({
      labelled: labelled(labels, this.network),
      seen: { pixels: mask, rule: "not zero" },
      masked: maskedLabels && labelled(maskedLabels, this.network),
    }),
    learn: (images, shares) => this.#learn(images, shares),
    conclude: (sums) => this.#bank.move(sums, this.#options.prototypeDecay),
  };

  /** Equations 6, 9 and 10, summed as in equation 11, and the loss of masked images. */
  #learn(
    { weak, strong, pasted, masked, ...teaching }: TargetBatch & Teaching,
    shares: Shares & { readonly images: Share },
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
      : { ...learn(pasted?.weak ?? weak, symmetric, prior), ...learn(strong, ...ofStrong) };
    return {
      ...losses,
      regulariser: last, // in the order of equation 11
      ...this.#learnMasked(masked, teaching, shares.masked),
    };
  }

  /** The loss of MIC. Evaluation sees no masked image: norms do not track them. */
  #learnMasked(
    masked: GpuArray | undefined,
    { maskedLabels, maskedWeights, distances }: Teaching,
    share: Share,
  ): Losses {
    const { maskedWeight } = this.#options;
    if (!masked || !maskedLabels) return {};
    const term: Term = ({ logits }) => ({
      name: "masked",
      weight: maskedWeight,
      loss: weighed(maskedLoss(logits, maskedLabels, maskedWeights), share),
    });
    return withoutTracking(
      this.network,
      () => learnFrom(this.#trainer, masked, sizeOf(distances), [term]),
    );
  }

  /** ℓ_sce of equation 6. */
  #labelLoss(logits: Tensor, { labels, soft, weights: pixelWeights }: Teaching): Tensor {
    const { alpha, beta } = this.#options;
    return soft
      ? softSymmetricLoss(logits, soft, labels, { alpha, beta, pixelWeights })
      : symmetricLoss(logits, labels, { alpha, beta, pixelWeights });
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
