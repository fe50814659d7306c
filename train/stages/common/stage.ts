// What a stage of training is, and what most stages share: a network, its optimiser, its schedule.

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { LossScale } from "../../../nn/loss_scale.ts";
import { Sgd } from "../../../nn/optim.ts";
import { polynomial } from "../../../nn/schedule.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { type Arrays, learnInParts, type Pass } from "./accumulate.ts";
import type { StageSettings } from "./settings.ts";

/** Named losses of one step: scalars on the GPU, which the caller reads when it wants and releases. */
export type Losses = Readonly<Record<string, GpuArray>>;

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
export type OptimiserOptions =
  & Readonly<Omit<StageSettings, "steps">>
  & {
    /** Seed of dropout. */
    readonly seed: number;
    /**
     * Parts in which a step learns its batch, one after the other, for less memory; they divide its images
     * (default 1). Losses and gradients are those of the batch, batch norms take the statistics of a part.
     */
    readonly accumulate?: number;
  };

/** The backbone's learning rate of a step: ramp, then polynomial decay. */
export function learningRateOf(
  { learningRate, scheduleSteps, power, rampSteps }: OptimiserOptions,
  step: number,
): number {
  const ramp = Math.min(1, (step + 1) / Math.max(1, rampSteps));
  return learningRate * ramp * polynomial(step, scheduleSteps, power);
}

/** A loss scale for a network that computes in halves. */
export function lossScaleFor({ gpu, compute }: DeepLab): LossScale | undefined {
  return compute === "f16" ? new LossScale(gpu) : undefined;
}

/**
 * A network with its SGD and polynomial schedule. A step of a stage is {@link NetworkTrainer.begin}, a
 * {@link NetworkTrainer.learn} for each domain, and {@link NetworkTrainer.update}.
 */
export class NetworkTrainer {
  /** The network that is trained; the caller's. */
  readonly network: DeepLab;
  readonly #options: OptimiserOptions;
  readonly #optimiser: Sgd;

  /** Starts every velocity at 0. */
  constructor(network: DeepLab, options: OptimiserOptions) {
    this.network = network;
    this.#options = options;
    const { backbone, head } = network.parameterGroups();
    this.#optimiser = new Sgd([
      { parameters: backbone },
      { parameters: head, learningRateFactor: options.headFactor },
    ], { ...options, lossScale: lossScaleFor(network) });
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
   * Adds the gradients of a batch, in as many parts as the options say.
   *
   * @returns What learning returned for the whole batch: losses, and arrays to keep. The caller's to release.
   * @throws {RangeError} If the images do not divide into so many parts.
   */
  learn<B extends object, P extends Arrays, C extends string, R extends Arrays>(
    batch: B,
    pass: Pass<B, P, C, R>,
  ): R {
    const peers = this.network.gpu.peers?.size;
    return learnInParts(batch, this.#options.accumulate ?? 1, pass, peers);
  }

  /** Adds the gradients of a loss, scaled where the network computes in halves. */
  backward(loss: Tensor): void {
    this.#optimiser.backward(loss);
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
      ...prefixed("optimizer", this.#optimiser.state()), // the name in checkpoints
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
