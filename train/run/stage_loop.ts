// The loop of a prepared stage with all that a run folder gets of it: metrics, checkpoints, samples, result.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { Checkpoint, writeCheckpoint } from "../networks/checkpoint.ts";
import type { RunConfig, StageName } from "../config/config.ts";
import type { RunData } from "./run_data.ts";
import { DataError } from "../base/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import { evaluationOf, measure, type Measurement } from "../evaluation/evaluate.ts";
import type { LabelMaker } from "../evaluation/label_scores.ts";
import { watchLabels } from "./label_watch.ts";
import type { Loader } from "../data/loader.ts";
import { type Inspection, runLoop } from "./loop.ts";
import { byName, type Evaluation } from "../evaluation/metrics.ts";
import type { TrainingObserver } from "./observer.ts";
import type { CheckpointState, ResumePoint } from "./resume.ts";
import type { PretrainingResult, RunFolder, StageResult } from "./run_folder.ts";
import { type Best, BestNetwork } from "../evaluation/selection.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import { prefixed, type Stage } from "../stages/common/stage.ts";
import { writeTargetSamples } from "../evaluation/target_samples.ts";
import { savedClasses } from "../networks/trained_network.ts";

/** What the stages of a run share. */
export interface Run {
  readonly config: RunConfig;
  readonly gpu: Gpu;
  readonly data: RunData;
  readonly folder: RunFolder;
  readonly observer: TrainingObserver;
  readonly signal: AbortSignal;
  /** What the next stage starts from; stages 2 and 3 put their students in its place. */
  network: DeepLab;
  /** The target's val split. */
  readonly validation: Loader;
}

/** A stage ready to run, and where its batches come from. */
export interface Prepared<B> {
  readonly stage: Stage<B>;
  readonly nextBatch: () => Promise<B>;
  /** Milliseconds that batches have waited for pixels so far. */
  readonly waited: () => number;
  /** Labels of full target images, where the stage makes them. */
  readonly makeLabels?: LabelMaker;
  /** Whether the stage trains no network that could be scored. */
  readonly isPretraining?: boolean;
}

/** Runs the loop from where the stage stands, then writes samples and result. */
export async function finishStage<B>(
  run: Run,
  { stage, nextBatch, waited, makeLabels, isPretraining = false }: Prepared<B>,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data, folder, network, observer, signal } = run;
  const { steps } = config.stages[stage.name as StageName];
  run.gpu.resetPeak();
  const started = performance.now();
  const secondsHere = () => (performance.now() - started) / 1000;
  const secondsSoFar = () => (point?.seconds ?? 0) + secondsHere();
  const cost = () => ({
    seconds: secondsSoFar(),
    waitShare: waited() / 1000 / secondsHere(),
    peakBytes: run.gpu.memory.peak,
  });
  const firstStep = point?.step ?? 0;
  if (point) {
    using checkpoint = new Checkpoint(point.path);
    checkpoint.restore(stage.state());
  }
  observer.stageStart({ name: stage.name, steps, firstStep });
  let measured = null as Measurement | null;
  const evaluate = async (): Promise<Evaluation> => {
    measured = await measure(network, run.validation, config.data.longSide);
    return evaluationOf(measured);
  };
  const stateAt = (step: number, best: Best | null): CheckpointState => ({
    config,
    classes: data.classes.names,
    ownClasses: data.classes.isCityscapes ? null : savedClasses(data.classes),
    stage: stage.name as StageName,
    step,
    seconds: secondsSoFar(),
    best,
  });
  const bestPath = folder.bestPath(stage.name);
  const best = new BestNetwork({
    selection: config.select,
    steps,
    best: point?.best ?? null,
    path: bestPath,
    save: (best) =>
      writeCheckpoint(
        bestPath,
        prefixed("network", network.stateDict()),
        stateAt(best.step, best),
      ),
  });
  const end = await runLoop({
    stage,
    steps,
    firstStep,
    nextBatch,
    waited,
    releaseBatch,
    evaluate: isPretraining ? null : evaluate,
    judge: (step, scores) => best.offer(step, scores),
    classNames: data.classes.names,
    evalEvery: config.evalEvery,
    logEvery: config.logEvery,
    record: (record) => folder.appendMetrics(record),
    checkpoint: async (step) => {
      folder.syncMetrics();
      folder.keepPreviousCheckpoint(stage.name);
      await writeCheckpoint(
        folder.checkpointPath(stage.name),
        stage.state(),
        stateAt(step, best.best),
      );
    },
    checkpointEvery: config.checkpointEvery,
    inspection: inspectionOf(run, stage.name, makeLabels),
    observer,
    signal,
  });
  if (end.stopped) return undefined;
  let { scores } = end;
  if (!scores) {
    const result = { name: stage.name, steps: end.steps, ...cost() };
    observer.stageEnd(result);
    return result;
  }
  if (config.select !== "last" && best.isEarlier) {
    restoreNetwork(network, bestPath);
    scores = await evaluate();
  }
  if (measured?.isLabelled) {
    folder.writeConfusion(stage.name, data.classes.names, measured.confusion.toRows());
  }
  await writeTargetSamples(folder.samplePath(stage.name), {
    network,
    dataset: targetForPeople(data),
    longSide: config.data.longSide,
    palette: data.classes.palette,
    makeLabels,
  });
  const result: StageResult = {
    name: stage.name,
    steps: end.steps,
    mIoU: scores.mIoU,
    classIoU: byName(data.classes.names, scores.classIoU),
    pixelAccuracy: scores.pixelAccuracy,
    ...(config.select === "last" || !best.best ? {} : { selected: best.best }),
    ...cost(),
  };
  observer.stageEnd(result);
  return result;
}

/** Gives a network the weights of a checkpoint. */
function restoreNetwork(network: DeepLab, path: string): void {
  using checkpoint = new Checkpoint(path);
  checkpoint.restore(network.stateDict(), "network.");
}

/** Measures the labels that a stage makes, where that is wanted and the target has labels to compare with. */
function inspectionOf(
  { config, data, folder, network, observer }: Run,
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

/** The target images with labels where there are any: pictures show them, training never reads them. */
function targetForPeople(data: RunData): Dataset {
  try {
    return data.openLabelledTarget();
  } catch (error) {
    if (error instanceof DataError) return data.target;
    throw error;
  }
}
