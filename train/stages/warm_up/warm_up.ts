// Warm-up: output-space adversarial alignment (Tsai et al., AdaptSegNet, CVPR 2018, single level).
//
// A discriminator learns to tell the network's predictions on source from those on target; the
// network learns to segment source while its target predictions pass for source.

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import type { Discriminator } from "../../../nn/discriminator.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { bceWithLogitsLoss, leastSquaresLoss } from "../../../nn/functional/losses.ts";
import { softmax } from "../../../nn/functional/softmax.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { Adam } from "../../../nn/optim.ts";
import { polynomial } from "../../../nn/schedule.ts";
import { backward, input, scope } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { weighed } from "../common/accumulate.ts";
import { releaseBatch, type SourceBatch } from "../common/batch.ts";
import { sourceLoss } from "../common/losses.ts";
import { labelled } from "../common/source_pass.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type Stage,
} from "../common/stage.ts";
import type { WarmUpSettings } from "./settings.ts";

/** How the warm-up is done: its settings, and what every stage takes. */
export type WarmUpOptions =
  & OptimiserOptions
  & Readonly<Pick<WarmUpSettings, "adversarialWeight" | "gan" | "discriminatorLearningRate">>;

/** What a step takes. */
export interface WarmUpBatch {
  /** Labelled source images. */
  readonly source: SourceBatch;
  /** Unlabelled target images. */
  readonly target: {
    /** [N, 3, H, W], RGB in 0 to 1. */
    readonly images: GpuArray;
  };
}

/** Probabilities of both domains, which the discriminator is to tell apart, [N, K, H, W]. */
interface Probabilities {
  readonly source: GpuArray;
  readonly target: GpuArray;
}

const SOURCE_LABEL = 0;
const TARGET_LABEL = 1;

/** One adversarial step: first the network against a frozen discriminator, then the discriminator. */
export class WarmUp implements Stage<WarmUpBatch> {
  /** Name in logs and results. */
  readonly name: string;
  /** The network that is trained. */
  readonly network: DeepLab;
  readonly #discriminator: Discriminator;
  readonly #trainer: NetworkTrainer;
  readonly #optimiser: Adam;
  readonly #options: WarmUpOptions;

  /** The discriminator passes to the stage; the network stays the caller's. */
  constructor(
    network: DeepLab,
    discriminator: Discriminator,
    options: WarmUpOptions,
    name = "warmup",
  ) {
    this.name = name;
    this.network = network;
    this.#discriminator = discriminator;
    this.#options = options;
    this.#trainer = new NetworkTrainer(network, options);
    this.#optimiser = new Adam([{ parameters: discriminator.namedParameters() }], {
      betas: [0.9, 0.99],
    });
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  /** One update of each network; the losses are `source`, `adversarial` and `discriminator`. */
  step({ source, target }: WarmUpBatch, step: number): Losses {
    const trainer = this.#trainer;
    trainer.begin(step);
    this.#setDiscriminatorTrains(false);
    const onSource = this.#learnSource(source);
    const onTarget = this.#learnTarget(target);
    trainer.update(step);
    this.#setDiscriminatorTrains(true);
    const probabilities = { source: onSource.probabilities, target: onTarget.probabilities };
    const { discriminator } = this.#learnDiscriminator(probabilities);
    releaseBatch(probabilities);
    const { discriminatorLearningRate, scheduleSteps, power } = this.#options;
    this.#optimiser.step(discriminatorLearningRate * polynomial(step, scheduleSteps, power));
    this.#discriminator.zeroGrad();
    return { source: onSource.source, adversarial: onTarget.adversarial, discriminator };
  }

  /** The network learns to segment source. */
  #learnSource(batch: SourceBatch) {
    return this.#trainer.learn(batch, {
      counted: ({ labels }) => ({ labelled: labelled(labels, this.network) }),
      learn: ({ images, labels }, shares) =>
        scope(() => {
          const { logits } = this.network.forward(input(images));
          const loss = weighed(sourceLoss(logits, labels), shares.labelled);
          const probabilities = this.#probabilities(logits, images).array.retain();
          this.#trainer.backward(loss);
          return { source: loss.array.retain(), probabilities };
        }),
    });
  }

  /** The network learns to make target pass for source. */
  #learnTarget(batch: WarmUpBatch["target"]) {
    return this.#trainer.learn(batch, {
      learn: ({ images }, shares) =>
        scope(() => {
          const { logits } = this.network.forward(input(images));
          const probabilities = this.#probabilities(logits, images);
          const scores = this.#discriminator.forward(probabilities);
          const loss = weighed(this.#ganLoss(scores, SOURCE_LABEL), shares.images);
          this.#trainer.backward(scale(loss, this.#options.adversarialWeight));
          return { adversarial: loss.array.retain(), probabilities: probabilities.array.retain() };
        }),
    });
  }

  /** The discriminator learns to tell source from target. */
  #learnDiscriminator(probabilities: Probabilities) {
    return this.#trainer.learn(probabilities, {
      learn: ({ source, target }, shares) =>
        scope(() => {
          const both = add(
            this.#ganLoss(this.#discriminator.forward(input(source)), SOURCE_LABEL),
            this.#ganLoss(this.#discriminator.forward(input(target)), TARGET_LABEL),
          );
          const loss = weighed(both, shares.images);
          backward(loss);
          return { discriminator: loss.array.retain() };
        }),
    });
  }

  #probabilities(logits: Tensor, images: GpuArray): Tensor {
    const [, , height = 0, width = 0] = images.shape;
    return softmax(resizeBilinear(logits, { height, width }));
  }

  #ganLoss(scores: Tensor, label: number): Tensor {
    return this.#options.gan === "bce"
      ? bceWithLogitsLoss(scores, label)
      : leastSquaresLoss(scores, label);
  }

  #setDiscriminatorTrains(trains: boolean): void {
    for (const parameter of this.#discriminator.namedParameters().values()) {
      parameter.requiresGrad = trains;
    }
  }

  /** The arrays of the network, the discriminator and their optimisers. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...this.#trainer.state(),
      ...prefixed("discriminator", this.#discriminator.stateDict()),
      ...prefixed("discriminatorOptimizer", this.#optimiser.state()),
    ]);
  }

  /** Frees everything but the network. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
    this.#optimiser.dispose();
    this.#discriminator.dispose();
  }
}
