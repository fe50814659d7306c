// The loop of a prepared stage with all that a run folder gets of it: metrics, checkpoints, samples, result.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { pack } from "../base/packed.ts";
import { labelFreeOf } from "../evaluation/label_free.ts";
import type { LabelMaker } from "../evaluation/label_scores.ts";
import { byName, type Evaluation } from "../evaluation/metrics.ts";
import { type Best, BestNetwork } from "../evaluation/selection.ts";
import { writeTargetSamples } from "../evaluation/target_samples.ts";
import { leaderAlone } from "../parallel/leader.ts";
import { Checkpoint, writeCheckpoint } from "../networks/checkpoint.ts";
import { savedClasses } from "../networks/saved_classes.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import type { Batches } from "../stages/common/batches.ts";
import type { Prepared } from "../stages/common/kind.ts";
import { prefixed } from "../stages/common/stage.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import { checkDiverged } from "./divergence_error.ts";
import { reasonForTarget, takeBetterStatistics } from "./final_statistics.ts";
import { watchLabels } from "./label_watch.ts";
import { judgeStage } from "./judgement.ts";
import { type Inspection, runLoop } from "./loop.ts";
import { type NetworkScores, scoreNetwork, withSights } from "./network_scores.ts";
import type { CheckpointState, KnownFiles, ResumePoint } from "./resume.ts";
import type { PretrainingResult, StageResult } from "./run_folder.ts";
import { targetForPeople } from "./run_data.ts";
import type { RunState } from "./run_state.ts";

/** Milliseconds that a checkpoint waits for digests of the data; what is not read by then, the next one has. */
const LONGEST_WAIT = 10_000;

/** A stage ready to run, and where its batches come from. */
export interface StageInput<B>
  extends Pick<Prepared<B>, "stage" | "made" | "nextBatch" | "makeLabels"> {
  /** Cuts its batches. */
  readonly batches: Batches;
  /** Whether the stage trains no network that could be scored. */
  readonly isPretraining: boolean;
}

/**
 * Takes a prepared stage from where it stands to its end.
 *
 * @returns undefined where it was stopped.
 */
export async function loopStage<B>(
  run: RunState,
  input: StageInput<B>,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data, folder, observer, ranks, signal } = run;
  const { stage, nextBatch, batches, makeLabels, isPretraining } = input;
  const { name, network } = stage;
  const { steps } = config.stages[name as StageName];
  const cost = new StageCost(run.gpu, batches, point);
  const saves = new StageSaves(run, input, cost, point);
  const firstStep = point?.step ?? 0;
  if (point) {
    using checkpoint = new Checkpoint(point.path);
    checkpoint.restore(stage.state(), "", { finite: true });
  }
  observer.stageStart({ name, steps, firstStep });
  let scores = null as NetworkScores | null;
  const evaluate = async (): Promise<Evaluation> => {
    scores = await scoreNetwork(run, network);
    if (config.select === "unsupervised") scores = await withSights(run, network, scores);
    return scores.evaluation;
  };
  const end = await runLoop({
    stage,
    steps,
    firstStep,
    nextBatch: () => nextBatch(batches),
    waited: () => batches.waited,
    releaseBatch,
    evaluate: isPretraining ? null : evaluate,
    judge: (step, scores) => saves.best.offer(step, scores),
    classNames: data.classes.names,
    evalEvery: config.evalEvery,
    logEvery: config.logEvery,
    record: (record) => folder.appendMetrics(record),
    checkpoint: (step) => saves.checkpoint(step),
    checkpointEvery: config.checkpointEvery,
    inspection: inspectionOf(run, name, makeLabels),
    observer,
    ranks,
    signal,
  });
  if (end.stopped) return undefined;
  const times = end.times ? { times: end.times } : {};
  if (!scores) {
    const result = { name, steps: end.steps, ...cost.soFar, ...times };
    observer.stageEnd(result);
    return result;
  }
  if (saves.isBestEarlier) {
    restoreNetwork(network, folder.bestPath(name));
    await evaluate();
  }
  observer.message(`${name}: steps made and measured; looking at images again, in other views`);
  let left = await withSights(run, network, scores);
  // Only an end that was interrupted has saved any before, and to open a checkpoint reads all of it.
  let statistics = point ? saves.statistics : undefined;
  if (config.finalStatistics === "better" && kindOf(name as StageName).adapts && !statistics) {
    const taken = await takeBetterStatistics(run, network, left);
    if (taken) {
      observer.message(`${name}: ${reasonForTarget(left, taken)}`);
      left = taken;
      statistics = "target";
      await saves.saveTargetStatistics(steps);
    }
  }
  const { evaluation, onTarget } = left;
  if (onTarget.isLabelled) {
    folder.writeConfusion(name, data.classes.names, onTarget.confusion.toRows());
  }
  await writeTargetSamples(folder.samplePath(name), {
    network,
    dataset: targetForPeople(data),
    longSide: config.data.longSide,
    palette: data.classes.palette,
    makeLabels,
  });
  const judgement = await judgeStage(run, name as StageName, network, { scores: left, statistics });
  const selected = saves.best.best;
  const result: StageResult = {
    name,
    steps: end.steps,
    mIoU: evaluation.mIoU,
    classIoU: byName(data.classes.names, evaluation.classIoU),
    pixelAccuracy: evaluation.pixelAccuracy,
    ...(config.select === "last" || !selected ? {} : { selected }),
    ...(statistics ? { statistics } : {}),
    ...judgement,
    ...labelFreeOf(evaluation),
    ...cost.soFar,
    ...times,
  };
  observer.stageEnd(result);
  return result;
}

/** What a stage has taken so far. */
class StageCost {
  readonly #gpu: Gpu;
  readonly #batches: Batches;
  readonly #secondsBefore: number;
  readonly #started = performance.now();

  /** Begins to count; `point` says what the stage had taken before. */
  constructor(gpu: Gpu, batches: Batches, point: ResumePoint | null) {
    this.#gpu = gpu;
    this.#batches = batches;
    this.#secondsBefore = point?.seconds ?? 0;
    gpu.resetPeak();
  }

  get soFar(): Pick<Required<PretrainingResult>, "seconds" | "waitShare" | "peakBytes"> {
    const secondsHere = (performance.now() - this.#started) / 1000;
    return {
      seconds: this.#secondsBefore + secondsHere,
      waitShare: this.#batches.waited / 1000 / secondsHere,
      peakBytes: this.#gpu.memory.peak,
    };
  }
}

/** The checkpoints of a stage: its last state, and its best network. */
class StageSaves<B> {
  readonly best: BestNetwork;
  #statistics: CheckpointState["statistics"];
  readonly #run: RunState;
  readonly #stage: StageInput<B>["stage"];
  readonly #made: StageInput<B>["made"];
  readonly #cost: StageCost;

  constructor(
    run: RunState,
    { stage, made }: StageInput<B>,
    cost: StageCost,
    point: ResumePoint | null,
  ) {
    this.#run = run;
    this.#stage = stage;
    this.#made = made;
    this.#cost = cost;
    this.best = new BestNetwork({
      selection: run.config.select,
      steps: run.config.stages[stage.name as StageName].steps,
      best: point?.best ?? null,
      path: run.folder.bestPath(stage.name),
      save: (best) => leaderAlone(run.ranks, () => this.#saveBest(best)),
    });
  }

  /** Whether the network that counts is an earlier one than the last. */
  get isBestEarlier(): boolean {
    return this.#run.config.select !== "last" && this.best.isEarlier;
  }

  /** With which statistics the network that counts is saved, if not with its own: an interruption may have come after. */
  get statistics(): CheckpointState["statistics"] {
    const { folder } = this.#run;
    const { name } = this.#stage;
    const path = this.isBestEarlier ? folder.bestPath(name) : folder.checkpointPath(name);
    using checkpoint = new Checkpoint(path);
    return (checkpoint.state as CheckpointState).statistics;
  }

  /** Saves the network that counts once more, now that it has the target's statistics. */
  async saveTargetStatistics(step: number): Promise<void> {
    this.#statistics = "target";
    const { best } = this.best;
    await leaderAlone(
      this.#run.ranks,
      () => this.isBestEarlier && best ? this.#saveBest(best) : this.#saveLast(step),
    );
  }

  /** Saves all that the next step depends on. The checkpoint before stays until this one stands. */
  async checkpoint(step: number): Promise<void> {
    const { folder, fingerprint, ranks } = this.#run;
    const { name } = this.#stage;
    await leaderAlone(ranks, async () => {
      await fingerprint.settle(LONGEST_WAIT);
      await checkDiverged(this.#stage.state(), name, step);
      folder.syncMetrics();
      folder.keepPreviousCheckpoint(name);
      await this.#saveLast(step);
    });
  }

  #saveLast(step: number): Promise<void> {
    const path = this.#run.folder.checkpointPath(this.#stage.name);
    return writeCheckpoint(path, this.#stage.state(), this.#stateAt(step, this.best.best));
  }

  #saveBest(best: Best): Promise<void> {
    const { name, network } = this.#stage;
    const weights = prefixed("network", network.stateDict());
    return writeCheckpoint(
      this.#run.folder.bestPath(name),
      weights,
      this.#stateAt(best.step, best),
    );
  }

  #stateAt(step: number, best: Best | null): CheckpointState {
    const { config, data: { classes }, fingerprint } = this.#run;
    return {
      config,
      classes: classes.names,
      ownClasses: classes.isCityscapes ? null : savedClasses(classes),
      stage: this.#stage.name as StageName,
      step,
      seconds: this.#cost.soFar.seconds,
      best,
      ...(this.#statistics ? { statistics: this.#statistics } : {}),
      files: pack({ data: fingerprint.known, made: this.#made ?? null } satisfies KnownFiles),
    };
  }
}

/** Gives a network the weights of a checkpoint. */
function restoreNetwork(network: DeepLab, path: string): void {
  using checkpoint = new Checkpoint(path);
  checkpoint.restore(network.stateDict(), "network.", { finite: true });
}

/** Measures the labels that a stage makes, where that is wanted and the target has labels to compare with. */
function inspectionOf(
  { config, data, folder, network, observer }: RunState,
  name: string,
  makeLabels: LabelMaker | undefined,
): Inspection | null {
  const dataset = targetForPeople(data);
  if (!makeLabels || config.labelWatch.every === 0 || dataset.trainIds === null) return null;
  return watchLabels({
    config: config.labelWatch,
    network,
    makeLabels,
    dataset,
    classes: data.classes,
    longSide: config.data.longSide,
    picturePath: (picture) => folder.samplePath(`${name}/${picture}`),
    message: (text) => observer.message(`${name}: ${text}`),
  });
}
