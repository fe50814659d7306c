// Source-only: supervised training on labelled source images, where adaptation starts.

import type { AnyArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import type { SourceBatch } from "../common/batch.ts";
import { sourcePass } from "../common/source_pass.ts";
import { type Losses, NetworkTrainer, type OptimiserOptions, type Stage } from "../common/stage.ts";

/** What a step of supervised training takes. */
export interface SourceOnlyBatch {
  /** Labelled images. */
  readonly source: SourceBatch;
}

/** Minimises the cross entropy of labelled images, at the size of the crop. */
export class SourceOnly implements Stage<SourceOnlyBatch> {
  /** Name in logs and results. */
  readonly name: string;
  /** The network that is trained. */
  readonly network: DeepLab;
  readonly #trainer: NetworkTrainer;

  /**
   * Starts a fresh optimiser; the network stays the caller's.
   *
   * @param name `source`, or `oracle` where target images come with labels.
   */
  constructor(network: DeepLab, options: OptimiserOptions, name = "source") {
    this.name = name;
    this.network = network;
    this.#trainer = new NetworkTrainer(network, options);
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  /** One optimiser update; its loss is `source`. */
  step({ source }: SourceOnlyBatch, step: number): Losses {
    this.#trainer.begin(step);
    const losses = this.#trainer.learn(source, sourcePass(this.#trainer));
    this.#trainer.update(step);
    return losses;
  }

  /** The arrays of the network and its optimiser. */
  state(): Map<string, AnyArray> {
    return this.#trainer.state();
  }

  /** Frees everything but the network. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
  }
}
