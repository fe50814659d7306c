// What a stage of training is, and what all stages share: a network, its optimiser, its schedule.

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { Sgd } from "../../../nn/optim.ts";
import { polynomial } from "../../../nn/schedule.ts";
import { backward, input, scope } from "../../../nn/tape.ts";
import { IGNORE } from "../../data/classes.ts";
import { sourceLoss } from "./losses.ts";
import { addedLosses, byParts, type Share, sharesOf, weighed } from "./accumulate.ts";
import { releaseBatch } from "./batch.ts";

/** Named losses of one step: scalars on the GPU, which the caller reads when it wants and releases. */
export type Losses = Readonly<Record<string, GpuArray>>;

/** Labelled images. */
export interface SourceBatch {
  /** [N, 3, H, W], RGB in 0 to 1. */
  readonly images: GpuArray;
  /** Train ids, [N, H, W]; 255 is ignored. */
  readonly labels: GpuArray<"u32">;
}

/** One stage: what a step does to the network. The loop around it knows nothing more. */
export interface Stage<B> extends Disposable {
  /** Name in logs and results. */
  readonly name: string;
  /** The network that is trained, and evaluated after the stage. */
  readonly network: DeepLab;
  /**
   * One optimiser update.
   *
   * @param batch Explicit tensors and transforms; they stay the caller's.
   * @param step Counts updates from 0; drives the schedule and dropout.
   */
  step(batch: B, step: number): Losses;
  /** The learning rate of a step. */
  learningRate(step: number): number;
  /** Every array that the next step depends on, under unique names: what a checkpoint holds. */
  state(): Map<string, AnyArray>;
}

/** How a network is optimised (paper, section 4.1). */
export interface OptimiserOptions {
  /** Rate of the backbone at step 0. */
  readonly learningRate: number;
  /** The head's rate over the backbone's. */
  readonly headFactor: number;
  /** Momentum of SGD. */
  readonly momentum: number;
  /** L2 penalty, added to gradients. */
  readonly weightDecay: number;
  /** Step at which the polynomial schedule reaches zero. */
  readonly scheduleSteps: number;
  /** Power of the polynomial schedule. */
  readonly power: number;
  /** Steps over which the rate first rises linearly; 0 in the paper, a few help short runs from scratch. */
  readonly rampSteps: number;
  /** Seed of dropout. */
  readonly seed: number;
  /**
   * Parts in which a step learns its batch, one after the other, for less memory; they divide its images
   * (default 1). Losses and gradients are those of the batch, batch norms take the statistics of a part.
   */
  readonly accumulate?: number;
}

/** The backbone's learning rate of a step: ramp, then polynomial decay. */
export function learningRateOf(
  { learningRate, scheduleSteps, power, rampSteps }: OptimiserOptions,
  step: number,
): number {
  const ramp = Math.min(1, (step + 1) / Math.max(1, rampSteps));
  return learningRate * ramp * polynomial(step, scheduleSteps, power);
}

/** A network with its SGD and polynomial schedule. */
export class NetworkTrainer {
  /** The network that is trained; the caller's. */
  readonly network: DeepLab;
  /** Parts in which a step learns its batch. */
  readonly parts: number;
  readonly #options: OptimiserOptions;
  readonly #optimiser: Sgd;

  /** Starts every velocity at 0. */
  constructor(network: DeepLab, options: OptimiserOptions) {
    this.network = network;
    this.parts = options.accumulate ?? 1;
    this.#options = options;
    const { backbone, head } = network.parameterGroups();
    this.#optimiser = new Sgd([
      { parameters: backbone },
      { parameters: head, learningRateFactor: options.headFactor },
    ], options);
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return learningRateOf(this.#options, step);
  }

  /** Training mode, with the dropout of this step. */
  begin(step: number): void {
    this.network.train();
    this.network.setStep(this.#options.seed, step);
  }

  /**
   * Adds the gradients of the cross entropy of labelled source images; returns the loss.
   *
   * @param options.tracks Whether the images move the running statistics of batch norms (default true).
   */
  learnSource(
    source: SourceBatch,
    { tracks = true }: { readonly tracks?: boolean } = {},
  ): GpuArray {
    const norms = tracks ? [] : this.network.batchNorms();
    const momenta = norms.map(({ momentum }) => momentum);
    for (const norm of norms) norm.momentum = 0;
    const shares = this.labelShares(source.labels);
    const parts = byParts(source, this.parts, ({ images, labels }, index) =>
      scope(() => {
        const { logits } = this.network.forward(input(images));
        const loss = weighed(sourceLoss(logits, labels), shares[index] as Share);
        backward(loss);
        return { loss: loss.array.retain() };
      }));
    norms.forEach((norm, index) => norm.momentum = momenta[index] as number);
    releaseBatch(shares);
    return addedLosses(parts).loss;
  }

  /** Shares of the parts of a batch in the pixels with a label, [N, H, W]. Release them. */
  labelShares(labels: GpuArray<"u32">): Share[] {
    const { classes } = this.network;
    return sharesOf(labels, this.parts, { classes, ignoreLabel: IGNORE });
  }

  /** Applies the gradients that have been accumulated, and clears them. */
  update(step: number): void {
    this.#optimiser.step(this.learningRate(step));
    this.network.zeroGrad();
  }

  /** The network's and the optimiser's arrays. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...prefixed("network", this.network.stateDict()),
      ...prefixed("optimizer", this.#optimiser.state()),
    ]);
  }

  /** Frees the optimiser; the network stays. */
  [Symbol.dispose](): void {
    this.#optimiser.dispose();
  }
}

/** The entries of a map under `prefix.name`. */
export function prefixed<T>(prefix: string, map: ReadonlyMap<string, T>): Map<string, T> {
  return new Map([...map].map(([name, value]) => [`${prefix}.${name}`, value]));
}
