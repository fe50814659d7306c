// What a running training tells whoever watches: the seam between the loop and the screen.

import type { StepTimes } from "./step_times.ts";
import type { PretrainingResult, RunResult, StageResult } from "./run_folder.ts";

export type { PretrainingResult, RunResult, StageResult };

/** A stage is about to run. */
export interface StageStart {
  /** The stage's name. */
  readonly name: string;
  /** Optimiser updates that it will have made at its end. */
  readonly steps: number;
  /** Updates that it has made already, above 0 after a resume. */
  readonly firstStep: number;
}

/** One optimiser update. */
export interface StepReport {
  /** The stage's name. */
  readonly stage: string;
  /** The step, counted from 0 as in `metrics.jsonl`. */
  readonly step: number;
  /** Steps of the whole stage. */
  readonly steps: number;
  /** The named terms of the loss, unweighted. */
  readonly losses: Readonly<Record<string, number>>;
  /** The backbone's learning rate. */
  readonly learningRate: number;
  /** Updates per second of late, evaluation and checkpoints not counted. */
  readonly stepsPerSecond: number;
  /** Share of that time that was spent waiting for pixels, 0 to 1, where that is known. */
  readonly waitShare?: number | undefined;
  /** Where that time goes, where several processes train together. */
  readonly times?: StepTimes | undefined;
}

/** Scores of a set of images, in percent. */
export interface NamedScores {
  /** Mean IoU. */
  readonly mIoU: number;
  /** IoU by class name; null for a class that does not occur. */
  readonly classIoU: Readonly<Record<string, number | null>>;
  /** Share of labelled pixels predicted right. */
  readonly pixelAccuracy: number;
}

/** The scores of the target's val split during or after a stage; NaN without labels. */
export interface EvaluationReport extends NamedScores {
  /** The stage's name. */
  readonly stage: string;
  /** Updates made so far in the stage. */
  readonly step: number;
  /** Mutual information of images and predicted classes, which needs no labels. */
  readonly information?: number;
  /** How sure predictions are and of all classes alike. */
  readonly correlation?: number;
  /** How far predictions agree with those of other views, where it was measured. */
  readonly agreement?: number;
  /** The scores of the source's held-out images, where there are any. */
  readonly source?: NamedScores;
}

/**
 * Watches a training. The loop reads losses back from the GPU in groups, so the reports of several
 * steps may come at once; they come in order, and every step is reported.
 */
export interface TrainingObserver {
  /** A stage begins. */
  stageStart(stage: StageStart): void;
  /** A step was made. */
  step(report: StepReport): void;
  /** The network was scored. */
  evaluation(report: EvaluationReport): void;
  /** A stage is complete, or was stopped: `result.steps` tells. */
  stageEnd(result: StageResult | PretrainingResult): void;
  /** Something else worth a line: data being written, pseudo labels being made, a file saved. */
  message(text: string): void;
}

/** An observer that tells several others, in their order. */
export function together(...observers: readonly TrainingObserver[]): TrainingObserver {
  return {
    stageStart: (stage) => observers.forEach((observer) => observer.stageStart(stage)),
    step: (report) => observers.forEach((observer) => observer.step(report)),
    evaluation: (report) => observers.forEach((observer) => observer.evaluation(report)),
    stageEnd: (result) => observers.forEach((observer) => observer.stageEnd(result)),
    message: (text) => observers.forEach((observer) => observer.message(text)),
  };
}
