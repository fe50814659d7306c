/**
 * The best network of a stage so far, kept beside the last one.
 *
 * @module
 */
import { removeIfPossible } from "../base/atomic_file.ts";
import { labelFreeScore } from "./label_free.ts";
import type { Evaluation } from "./metrics.ts";

/**
 * - `last`: a stage starts from the network of the one before it.
 * - `best`: it starts from the best network so far, as far as that can be told without labels.
 */
export const HAND_ON = ["last", "best"] as const;

/**
 * - `own`: a network keeps the batch-norm statistics that it has trained with.
 * - `better`: they are estimated anew on the target images (AdaBN, Li et al., 2016), and the network keeps those
 *   with the higher label-free score.
 */
export const FINAL_STATISTICS = ["own", "better"] as const;

/** What a stage hands on to the next: its last network, or the best of its evaluations. */
export const SELECTIONS = ["last", "labels", "unsupervised"] as const;

/**
 * - `last`: the network after the last step.
 * - `labels`: that with the highest mIoU on the target's val labels. It peeks at them.
 * - `unsupervised`: that with the highest score without labels (`labelFreeScore`).
 */
export type Selection = typeof SELECTIONS[number];

/** The best evaluation of a stage. */
export interface Best {
  /** Optimiser updates before it. */
  readonly step: number;
  /** What it was chosen by: mIoU, the label-free score or information, in percent. */
  readonly value: number;
}

/** What is compared: the label-free score if labels are not to be used, else mIoU, or information without. */
function valueOf(evaluation: Evaluation, selection: Selection): number {
  const { mIoU, information = 0 } = evaluation;
  if (selection === "unsupervised") return labelFreeScore(evaluation) ?? 0;
  return Number.isNaN(mIoU) ? information : mIoU;
}

/** What {@link BestNetwork} works with. */
export interface BestNetworkOptions {
  readonly selection: Selection;
  /** Steps of the stage: the network after them is in its checkpoint already. */
  readonly steps: number;
  /** The best before an interruption; null for none. */
  readonly best: Best | null;
  /** Path of the best network's checkpoint. */
  readonly path: string;
  /** Writes the present network there. */
  readonly save: (best: Best) => Promise<void>;
}

/** Follows the evaluations of a stage. The best network has a file unless it is the last one. */
export class BestNetwork {
  readonly #options: BestNetworkOptions;
  #best: Best | null;

  /** Goes on from the best of an earlier run of the stage. */
  constructor(options: BestNetworkOptions) {
    this.#options = options;
    this.#best = options.best;
  }

  /** The best so far, for checkpoints; null before the first evaluation. */
  get best(): Best | null {
    return this.#best;
  }

  /** Whether an earlier network than the last is the best. */
  get isEarlier(): boolean {
    return this.#best !== null && this.#best.step < this.#options.steps;
  }

  /** Judges the present network; of equals the later one is kept. */
  async offer(step: number, evaluation: Evaluation): Promise<void> {
    const { selection, steps, path, save } = this.#options;
    const value = valueOf(evaluation, selection);
    if (this.#best && value < this.#best.value) return;
    this.#best = { step, value };
    if (step < steps) await save(this.#best);
    else removeIfPossible(path);
  }
}
