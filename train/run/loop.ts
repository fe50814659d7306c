// The loop around every stage: steps, metrics, evaluation, checkpoints, stopping. It does not know
// which stage runs.

import { countNonfinite } from "../../kernels/nonfinite.ts";
import { sumOverPeers } from "../../kernels/peers.ts";
import { type Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { byName, type Evaluation, publishedMeans, type Scores } from "../evaluation/metrics.ts";
import { checkDiverged, diverged, DivergenceError } from "./divergence_error.ts";
import { checkSameWeights } from "../parallel/agreement.ts";
import type { Collective } from "../parallel/collective.ts";
import { Solo } from "../parallel/solo.ts";
import type { EvaluationReport, StepReport, TrainingObserver } from "./observer.ts";
import { StepClock, type StepTimes } from "./step_times.ts";
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
  /** Steps over which the speed is measured; if 1, each is waited for and recorded before the next. */
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
  /** The processes that train together; this one alone unless given. */
  readonly ranks?: Collective;
  /** Asks for a stop after the current step; where one rank asks, all stop after the same one. */
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
  /** What a step has taken here in the mean, where several processes make it. */
  readonly times?: StepTimes | undefined;
}

/**
 * Runs a stage to its end or until it is asked to stop.
 *
 * @throws {DivergenceError} If a loss, or what the network makes of an image, is not finite.
 * @throws {CollectiveError} If ranks have drifted apart.
 */
export async function runLoop<B>(options: LoopOptions<B>): Promise<LoopResult> {
  const { stage, steps, evaluate, ranks = new Solo() } = options;
  const firstStep = options.firstStep ?? 0;
  using log = new StepLog(options);
  let scores: Evaluation | null = null;
  let step = firstStep;
  if (firstStep === 0) await inspect(options, 0);
  for (; step < steps && !log.isStopping; step++) {
    const batch = await options.nextBatch(step);
    const losses = stage.step(batch, step);
    options.releaseBatch(batch);
    log.add(step, losses);
    const done = step + 1;
    const last = done === steps;
    const evaluated = evaluate !== null && (done % options.evalEvery === 0 || last);
    const inspected = options.inspection && (done % options.inspection.every === 0 || last);
    const saved = done % options.checkpointEvery === 0 && !last;
    const compared = ranks.size > 1 && (done % COMPARED_EVERY === 0 || last);
    // Before a checkpoint too: it never holds what diverged, and the records of its steps are written.
    if (evaluated || inspected || saved || compared) {
      await log.measure();
      if (compared) await compareWeights(stage, ranks, done);
      if (evaluated) {
        scores = await evaluate().catch(async (error) => {
          await log.record(null); // which says so where a loss tells it already
          throw diverged(error, stage.name, step);
        });
      }
      await log.record(evaluated ? scores : null);
      if (evaluated && scores) await options.judge?.(done, scores);
      if (inspected) await inspect(options, done);
      log.skip(); // the time of both
    } else await log.recordOld();
    if (saved) await options.checkpoint(done);
  }
  await log.measure();
  await log.record(null);
  // A run that was interrupted after its last step has only its scores left to find.
  if (firstStep === steps) scores = await evaluate?.() ?? null;
  else await options.checkpoint(step);
  const stopped = step < steps;
  const { times } = log;
  return { steps: step, stopped, scores: stopped ? null : scores, ...(times ? { times } : {}) };
}

async function inspect<B>(
  { inspection, record, stage }: LoopOptions<B>,
  updates: number,
): Promise<void> {
  if (!inspection) return;
  const content = await inspection.inspect(updates);
  record({ stage: stage.name, step: Math.max(0, updates - 1), updates, ...content });
}

/** Steps between two comparisons of the weights of all ranks. */
const COMPARED_EVERY = 100;

async function compareWeights<B>(
  { network }: Stage<B>,
  ranks: Collective,
  step: number,
): Promise<void> {
  const weights = await network.gpu.readAll([...network.stateDict().values()]);
  await checkSameWeights(ranks, weights as Float32Array[], step);
}

/** Scores with the names of the classes. */
function namedScores(
  { source, ...target }: Evaluation,
  names: readonly string[],
): Omit<EvaluationReport, "stage" | "step"> {
  const named = (scores: Scores) => ({ ...scores, classIoU: byName(names, scores.classIoU) });
  return { ...target, ...named(target), ...(source ? { source: named(source) } : {}) };
}

/** Scores in the record of a step, where "source" is a loss. */
function recordOf(
  { source, ...target }: Omit<EvaluationReport, "stage" | "step">,
): Record<string, unknown> {
  if (!source) return target;
  return {
    ...target,
    sourceMIoU: source.mIoU,
    sourceClassIoU: source.classIoU,
    sourcePixelAccuracy: source.pixelAccuracy,
  };
}

/** How losses are read. */
interface Reading {
  /** Steps whose losses are read together. */
  readonly group: number;
  /**
   * Groups that may be under way, while the GPU runs the steps after them: enough that it never waits
   * for the host, so few that it is not given much more than it can run.
   */
  readonly underWay: number;
}

const ALONE: Reading = { group: 2, underWay: 2 };
/** Ranks learn with the losses whether one of them is to stop, which should not come many steps late. */
const TOGETHER: Reading = { group: 1, underWay: 1 };
/** Each step is waited for. */
const IN_STEP: Reading = { group: 1, underWay: 0 };

/** A step that has been enqueued, and the names of its losses. */
interface EnqueuedStep {
  readonly step: number;
  readonly names: readonly string[];
}

/** What is read of a group: the losses of its steps, and how many weights are not finite after it. */
interface Group {
  readonly steps: readonly EnqueuedStep[];
  read(): Promise<{
    readonly losses: number[];
    readonly nonfinite: number;
    readonly isStopping: boolean;
  }>;
}

/**
 * Reads losses while later steps run, and records them in order. Losses may hide a NaN, as adapters
 * need not compute with it; the weights cannot, as theirs are found by their bits. Of several ranks, each
 * has a share of a loss, and all read the sum.
 */
class StepLog<B> {
  readonly #options: LoopOptions<B>;
  readonly #gpu: Gpu;
  readonly #reading: Reading;
  /** Whether a rank has asked for a stop, as far as all know. */
  #isStopping = false;
  #open: { readonly step: number; readonly losses: Losses }[] = [];
  #underWay: Group[] = [];
  /** When the steps began by which the speed is measured, their number, and the wait before. */
  #since = performance.now();
  #steps = 0;
  #waitedBefore = 0;
  #pace: Pick<StepReport, "stepsPerSecond" | "waitShare" | "times"> | undefined;
  readonly #clock: StepClock;

  constructor(options: LoopOptions<B>) {
    this.#options = options;
    this.#gpu = options.stage.network.gpu;
    this.#clock = new StepClock(this.#gpu, options.ranks ?? new Solo());
    this.#reading = options.logEvery === 1 ? IN_STEP : this.#gpu.peers ? TOGETHER : ALONE;
  }

  /** Whether the loop is to end; ranks all see it after the same step. */
  get isStopping(): boolean {
    return this.#gpu.peers ? this.#isStopping : this.#options.signal.aborted;
  }

  /** See {@link LoopResult.times}. */
  get times(): StepTimes | undefined {
    return this.#clock.mean;
  }

  /** Takes over the losses of a step, with which it is complete. */
  add(step: number, losses: Losses): void {
    this.#open.push({ step, losses });
    this.#steps++;
    if (this.#open.length === this.#reading.group) this.#readOpen();
    this.#gpu.flush();
  }

  /** Records steps that are long done. */
  async recordOld(): Promise<void> {
    const { logEvery } = this.#options;
    while (this.#underWay.length > this.#reading.underWay) {
      if (!this.#pace || this.#steps >= logEvery) this.#takeTime();
      await this.#recordOldest(null);
    }
  }

  /** Waits for all steps, takes their time before anything else spends some, and records most. */
  async measure(): Promise<void> {
    this.#readOpen();
    await this.#gpu.finish();
    this.#takeTime();
    while (this.#underWay.length > 1) await this.#recordOldest(null);
  }

  /** Leaves out the time since the last measurement. */
  skip(): void {
    this.#clock.skip();
    this.#since = performance.now();
    this.#steps = 0;
  }

  /** Records the rest; `scores` belong to the last step. */
  async record(scores: Evaluation | null): Promise<void> {
    this.#readOpen();
    while (this.#underWay.length > 0) {
      await this.#recordOldest(this.#underWay.length === 1 ? scores : null);
    }
    this.skip();
  }

  #takeTime(): void {
    if (this.#steps === 0) return;
    const milliseconds = performance.now() - this.#since;
    const stepsPerSecond = 1000 * this.#steps / milliseconds;
    const times = this.#clock.count(this.#steps, milliseconds);
    const shown = times ? { times } : {};
    const waited = this.#options.waited?.();
    if (waited === undefined) this.#pace = { stepsPerSecond, ...shown };
    else {
      const waitShare = (waited - this.#waitedBefore) / milliseconds;
      this.#pace = { stepsPerSecond, waitShare, ...shown };
      this.#waitedBefore = waited;
    }
    this.skip();
  }

  #readOpen(): void {
    const open = this.#open.splice(0);
    if (open.length === 0) return;
    const gpu = this.#gpu;
    const nonfinite = this.#countNonfiniteWeights();
    const sums = open.flatMap(({ losses }) => Object.values(losses));
    if (gpu.peers) {
      const stop = Number(this.#options.signal.aborted);
      sums.push(gpu.upload(Float32Array.of(stop), [], "ranks that are to stop"));
      sumOverPeers(sums);
    }
    const arrays = [nonfinite, ...sums];
    const read = gpu.readLater(arrays);
    for (const array of arrays) array.release();
    this.#underWay.push({
      steps: open.map(({ step, losses }) => ({ step, names: Object.keys(losses) })),
      async read() {
        const [[nonfinite = NaN], ...values] = await read();
        const [stop = 0] = gpu.peers ? values.pop() ?? [] : [];
        return { losses: values.map(([value = NaN]) => value), nonfinite, isStopping: stop > 0 };
      },
    });
  }

  #countNonfiniteWeights(): GpuArray<"u32"> {
    const { network } = this.#options.stage;
    const weights = [...network.namedParameters().values()].map(({ array }) => array);
    using all = GpuArray.spanning(weights);
    return countNonfinite(this.#gpu, all ? [all] : weights);
  }

  async #recordOldest(scores: Evaluation | null): Promise<void> {
    const oldest = this.#underWay.shift();
    if (!oldest) return;
    const { losses: values, nonfinite, isStopping } = await oldest.read();
    this.#isStopping ||= isStopping;
    const last = oldest.steps.at(-1);
    for (const enqueued of oldest.steps) {
      const losses = Object.fromEntries(
        enqueued.names.map((name) => [name, values.shift() ?? NaN]),
      );
      this.#recordStep(enqueued.step, losses, enqueued === last ? scores : null);
    }
    if (nonfinite > 0 && last) {
      const { name, network } = this.#options.stage;
      await checkDiverged(prefixed("network", network.stateDict()), name, last.step + 1);
    }
  }

  #recordStep(
    step: number,
    losses: Readonly<Record<string, number>>,
    scores: Evaluation | null,
  ): void {
    const { stage, steps, observer, record, classNames } = this.#options;
    const learningRate = stage.learningRate(step);
    const evaluation = scores && namedScores(scores, classNames);
    const means = evaluation ? publishedMeans(evaluation.classIoU) : {};
    record({
      stage: stage.name,
      step,
      ...losses,
      learningRate,
      ...(evaluation ? recordOf(evaluation) : {}),
      ...(Object.keys(means).length > 0 ? { means } : {}),
    });
    for (const [name, value] of Object.entries(losses)) {
      if (!Number.isFinite(value)) {
        throw new DivergenceError(
          `Training diverged in stage ${stage.name} at step ${step} as the loss "${name}" is ${value}: lower the learning rate`,
        );
      }
    }
    const pace = this.#pace ?? { stepsPerSecond: 0 };
    observer.step({ stage: stage.name, step, steps, losses, learningRate, ...pace });
    if (evaluation) observer.evaluation({ stage: stage.name, step: step + 1, ...evaluation });
  }

  /** Gives back what is not read yet. */
  [Symbol.dispose](): void {
    for (const { losses } of this.#open.splice(0)) {
      for (const array of Object.values(losses)) array.release();
    }
  }
}
