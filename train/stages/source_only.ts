// Source-only: supervised training on labelled source images, where adaptation starts.

import type { AnyArray } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { backward, scope } from "../../nn/tape.ts";
import { sourceLoss } from "../losses.ts";
import { input } from "./input.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimizerOptions,
  type SourceBatch,
  type Stage,
} from "./stage.ts";

/** What a step of supervised training takes. */
export interface SourceOnlyBatch {
  readonly source: SourceBatch;
}

/** Minimises the cross entropy of labelled images, at the size of the crop. */
export class SourceOnly implements Stage<SourceOnlyBatch> {
  readonly name: string;
  readonly network: DeepLab;
  readonly #trainer: NetworkTrainer;

  /** @param name `source`, or `oracle` where target images come with labels. */
  constructor(network: DeepLab, options: OptimizerOptions, name = "source") {
    this.name = name;
    this.network = network;
    this.#trainer = new NetworkTrainer(network, options);
  }

  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  step({ source }: SourceOnlyBatch, step: number): Losses {
    this.#trainer.begin(step);
    const loss = scope(() => {
      const { logits } = this.network.forward(input(source.images));
      const loss = sourceLoss(logits, source.labels);
      backward(loss);
      return loss.array.retain();
    });
    this.#trainer.update(step);
    return { source: loss };
  }

  state(): Map<string, AnyArray> {
    return this.#trainer.state();
  }

  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
  }
}
