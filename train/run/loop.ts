// The loop around every stage: steps, metrics, evaluation, checkpoints, stopping. It does not know
// which stage runs.

import { countNonfinite } from "../../kernels/nonfinite.ts";
import { type GpuArray, tune } from "../../kernels/runtime/mod.ts";
import { byName, type Evaluation, publishedMeans } from "../evaluation/metrics.ts";
import { checkDiverged, diverged, DivergenceError } from "./divergence_error.ts";
import type { StepReport, TrainingObserver } from "./observer.ts";
import { type Losses, prefixed, type Stage } from "../stages/common/stage.ts";

/** Something that is measured of a stage beside its scores. */
export interface Inspection {
  /** Steps between two of them; there is one before the first step and one after the last. */
  readonly every: number;
  /** Makes a record's content, after `updates` steps. */
  readonly inspect: (updates: number) => Promise<Record<string, unknown>>;
}

/** What the loop needs from its surroundings. */
export interface LoopOptions<B> {
  /** The stage. */
  readonly stage: Stage<B>;
  /** Updates to make in all. */
  readonly steps: number;
  /** Updates that an earlier run has made already. */
  readonly firstStep?: number;
  /** Makes the batch of a step. */
  readonly nextBatch: (step: number) => Promise<B>;
  /** Milliseconds that batches have waited for pixels so far; unless given, that is not reported. */
  readonly waited?: () => number;
  /** Frees a batch. */
  readonly releaseBatch: (batch: B) => void;
  /** Scores the network; null where the stage trains none that could be. */
  readonly evaluate: (() => Promise<Evaluation>) | null;
  /** Hears of an evaluation after `step` updates, once it is recorded. */
  readonly judge?: (step: number, scores: Evaluation) => Promise<void>;
  /** Names of the classes, in the order of the scores. */
  readonly classNames: readonly string[];
  /** Steps between evaluations; the last step is always followed by one. */
  readonly evalEvery: number;
  /** Steps between read-backs of losses: each waits for the GPU. */
  readonly logEvery: number;
  /** Takes one record per step. */
  readonly record: (record: Record<string, unknown>) => void;
  /** Saves everything that a resume needs, after `step` updates. */
  readonly checkpoint: (step: number) => Promise<void>;
  /** Steps between checkpoints; the last step, or the one a stop follows, is always saved. */
  readonly checkpointEvery: number;
  /** Gets records of its own in the metrics, under the last step before it; null for none. */
  readonly inspection?: Inspection | null;
  /** Hears of progress. */
  readonly observer: TrainingObserver;
  /** Asks for a stop after the current step. */
  readonly signal: AbortSignal;
}

/** How a stage ended. */
export interface LoopResult {
  /** Updates made in all. */
  readonly steps: number;
  /** Whether the signal ended it early. */
  readonly stopped: boolean;
  /** Scores after the last step; null where it was stopped, or there are none. */
  readonly scores: Evaluation | null;
}

/**
 * Runs a stage to its end or until it is asked to stop.
 *
 * @throws {DivergenceError} If a loss, a weight, or what the network makes of an image, is not finite.
 */
export async function runLoop<B>(options: LoopOptions<B>): Promise<LoopResult> {
  const { stage, steps, evaluate, signal } = options;
  const firstStep = options.firstStep ?? 0;
  const log = new StepLog(options);
  let scores: Evaluation | null = null;
  let step = firstStep;
  if (firstStep === 0) await inspect(options, 0);
  for (; step < steps && !signal.aborted; step++) {
    const batch = await options.nextBatch(step);
    log.add(step, stage.step(batch, step));
    options.releaseBatch(batch);
    await tune(stage.network.gpu);
    const done = step + 1;
    const last = done === steps;
    const evaluated = evaluate !== null && (done % options.evalEvery === 0 || last);
    const inspected = options.inspection && (done % options.inspection.every === 0 || last);
    const saved = done % options.checkpointEvery === 0 && !last;
    // Before a checkpoint too: it never holds what diverged, and the records of its steps are written.
    if (evaluated || inspected || saved || done % options.logEvery === 0) {
      await log.measure();
      if (evaluated) {
        scores = await evaluate().catch(async (error) => {
          await log.read(null); // which says so where a loss tells it already
          throw diverged(error, stage.name, step);
        });
      }
      await log.read(evaluated ? scores : null);
      if (evaluated && scores) await options.judge?.(done, scores);
      if (inspected) await inspect(options, done);
      log.skip(); // the time of both
    }
    if (saved) await options.checkpoint(done);
  }
  await log.measure();
  await log.read(null);
  // A run that was interrupted after its last step has only its scores left to find.
  if (firstStep === steps) scores = await evaluate?.() ?? null;
  else await options.checkpoint(step);
  const stopped = step < steps;
  return { steps: step, stopped, scores: stopped ? null : scores };
}

async function inspect<B>(
  { inspection, record, stage }: LoopOptions<B>,
  updates: number,
): Promise<void> {
  if (!inspection) return;
  const content = await inspection.inspect(updates);
  record({ stage: stage.name, step: Math.max(0, updates - 1), updates, ...content });
}

/** Keeps the losses of steps on the GPU and reads them together: a read waits for the GPU. */
class StepLog<B> {
  readonly #options: LoopOptions<B>;
  readonly #pending: { readonly step: number; readonly losses: Losses }[] = [];
  /** When the pending steps began, what had been waited before, and how fast they were. */
  #since = performance.now();
  #waitedBefore = 0;
  #pace: Pick<StepReport, "stepsPerSecond" | "waitShare"> = { stepsPerSecond: 0 };

  constructor(options: LoopOptions<B>) {
    this.#options = options;
  }

  add(step: number, losses: Losses): void {
    this.#pending.push({ step, losses });
    this.#options.stage.network.gpu.flush();
  }

  /** Waits for the pending steps and takes their time, before anything else spends some. */
  async measure(): Promise<void> {
    await this.#options.stage.network.gpu.finish();
    const milliseconds = performance.now() - this.#since;
    const stepsPerSecond = 1000 * this.#pending.length / milliseconds;
    const waited = this.#options.waited?.();
    if (waited === undefined) this.#pace = { stepsPerSecond };
    else {
      const waitShare = (waited - this.#waitedBefore) / milliseconds;
      this.#pace = { stepsPerSecond, waitShare };
      this.#waitedBefore = waited;
    }
  }

  /** Leaves out the time since the last read. */
  skip(): void {
    this.#since = performance.now();
  }

  /**
   * Reads and records what is pending; `scores` belong to the last step of it. Losses may hide a NaN,
   * as adapters need not compute with it; the weights cannot, as theirs are found by their bits.
   */
  async read(scores: Evaluation | null): Promise<void> {
    const { stage, steps, observer, record, classNames } = this.#options;
    const pending = this.#pending.splice(0);
    const arrays: GpuArray[] = pending.flatMap(({ losses }) => Object.values(losses));
    if (arrays.length === 0) return;
    const { network } = stage;
    const weights = network.stateDict();
    const nonfinite = countNonfinite(network.gpu, weights.values());
    const [[found = 0], ...read] = await network.gpu.readAll([nonfinite, ...arrays]);
    const values = read.map(([value = NaN]) => value);
    for (const array of [nonfinite, ...arrays]) array.release();
    for (const { step, losses } of pending) {
      const named = Object.fromEntries(
        Object.keys(losses).map((name) => [name, values.shift() ?? NaN]),
      );
      const learningRate = stage.learningRate(step);
      const evaluation = scores && step === pending.at(-1)?.step
        ? { ...scores, classIoU: byName(classNames, scores.classIoU) }
        : null;
      const means = evaluation ? publishedMeans(evaluation.classIoU) : {};
      record({
        stage: stage.name,
        step,
        ...named,
        learningRate,
        ...evaluation,
        ...(Object.keys(means).length > 0 ? { means } : {}),
      });
      for (const [name, value] of Object.entries(named)) {
        if (!Number.isFinite(value)) {
          throw new DivergenceError(
            `Training diverged in stage ${stage.name} at step ${step} as the loss "${name}" is ${value}: lower the learning rate`,
          );
        }
      }
      observer.step({
        stage: stage.name,
        step,
        steps,
        losses: named,
        learningRate,
        ...this.#pace,
      });
      if (evaluation) observer.evaluation({ stage: stage.name, step: step + 1, ...evaluation });
    }
    const updates = (pending.at(-1)?.step ?? 0) + 1;
    if (found > 0) await checkDiverged(prefixed("network", weights), stage.name, updates);
    this.skip();
  }
}
