// A whole run: data, run folder, and the stages of the pipeline one after the other.

import type { Gpu } from "../kernels/runtime/mod.ts";
import { DeepLab } from "../nn/deeplab.ts";
import { Discriminator } from "../nn/discriminator.ts";
import { Batches } from "./batches.ts";
import { Checkpoint, writeCheckpoint } from "./checkpoint.ts";
import type { RunConfig, StageConfig, StageName } from "./config.ts";
import { openRunData, type RunData } from "./data.ts";
import { DataError } from "./data_error.ts";
import type { Dataset } from "./dataset.ts";
import { estimateStatistics } from "./estimate_statistics.ts";
import { evaluationOf, measure, type Measurement } from "./evaluate.ts";
import type { LabelMaker } from "./label_scores.ts";
import { watchLabels } from "./label_watch.ts";
import { Loader } from "./loader.ts";
import { type Inspection, runLoop } from "./loop.ts";
import { byName, type Evaluation } from "./metrics.ts";
import type { TrainingObserver } from "./observer.ts";
import {
  type PretrainingResult,
  RunFolder,
  type RunResult,
  type StageResult,
} from "./run_folder.ts";
import type { PrototypeBank } from "./prototypes.ts";
import { withPseudoLabels, writePseudoLabels } from "./pseudo_labels.ts";
import { type CheckpointState, configOf, findResumePoint, type ResumePoint } from "./resume.ts";
import { type Best, BestNetwork } from "./selection.ts";
import { FEATURE_NORM, isCheckpoint, savedClasses } from "./trained_network.ts";
import { startFromWeights } from "./weights_file.ts";
import { bankFor, labelTarget, SoftLabels } from "./soft_labels.ts";
import { writeTargetSamples } from "./target_samples.ts";
import type { ViewOptions } from "./target_views.ts";
import { Denoise, type DenoiseBatch } from "./stages/denoise.ts";
import { Distil } from "./stages/distil.ts";
import { releaseBatch } from "./stages/batch.ts";
import { SelfSupervised } from "./stages/self_supervised.ts";
import { SourceOnly } from "./stages/source_only.ts";
import { type OptimizerOptions, prefixed, type Stage } from "./stages/stage.ts";
import { WarmUp } from "./stages/warm_up.ts";
import { checkpointsBefore, checkStudentStarts, networkBefore, startStudent } from "./student.ts";

/** Of each domain: one per four processors, as a photograph takes a tenth of a second. */
const DECODING_THREADS = Math.min(4, Math.ceil(navigator.hardwareConcurrency / 4));

/** What the stages of a run share. */
interface Run {
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
interface Prepared<B> {
  readonly stage: Stage<B>;
  readonly nextBatch: () => Promise<B>;
  /** Milliseconds that batches have waited for pixels so far. */
  readonly waited: () => number;
  /** Labels of full target images, where the stage makes them. */
  readonly makeLabels?: LabelMaker;
  /** Whether the stage trains no network that could be scored. */
  readonly isPretraining?: boolean;
}

/**
 * Trains the stages of `config.pipeline` in a new run folder, each from the network of the one before.
 *
 * @param signal Stops after the current step, with everything saved.
 * @returns What `result.json` holds: the stages that ran to their end.
 * @throws {DataError} If data or run folder cannot be used.
 * @throws The signal's reason, if it comes between stages, while soft labels are made.
 */
export async function runTraining(
  config: RunConfig,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
): Promise<RunResult> {
  const data = await openRunData(config.data, (text) => observer.message(text));
  checkSelection(config, data);
  const taken = checkpointsBefore(config); // before there is a folder
  using folder = RunFolder.create(config.out, config);
  folder.adopt(taken);
  return await trainStages({ config, gpu, data, folder, observer, signal }, null);
}

/**
 * Goes on with a run that was interrupted, wherever that was. On the same adapter and driver it ends in
 * the same bits as a run that was not.
 *
 * @param path The run folder.
 * @returns What `result.json` holds.
 * @throws {DataError} If data or run folder cannot be used, or `config.json` was changed.
 * @throws The signal's reason, if it comes between stages, while soft labels are made.
 */
export async function resumeTraining(
  path: string,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
): Promise<RunResult> {
  using folder = RunFolder.open(path);
  const config = configOf(folder);
  const point = findResumePoint(folder, config, (text) => observer.message(text));
  const data = await openRunData(config.data, (text) => observer.message(text));
  if (!point) folder.adopt(checkpointsBefore(config));
  return await trainStages({ config, gpu, data, folder, observer, signal }, point);
}

/** Refuses to select by labels where there are none. */
function checkSelection({ select }: RunConfig, { validation }: RunData): void {
  if (select !== "labels" || validation.trainIds !== null) return;
  throw new DataError(
    `Cannot select networks by labels as ${validation.root} has none of its val images: expected ` +
      `labels to measure on; add them, or choose --select unsupervised`,
  );
}

/** Trains the stages of the pipeline, or those after a checkpoint and what is left of its own. */
async function trainStages(
  given: Omit<Run, "network" | "validation">,
  point: ResumePoint | null,
): Promise<RunResult> {
  const { config, gpu, folder } = given;
  checkStudentStarts(config, folder);
  using validation = new Loader({ dataset: given.data.validation, order: "sequential" });
  const { done, result } = resultSoFar(given, point);
  folder.rewindMetrics(({ stage, step }) =>
    done.some((name) => name === stage) ||
    (point !== null && stage === point.stage && Number(step) < point.step)
  );
  folder.writeResult(result); // also where the first stage is stopped
  const run: Run = { ...given, network: startingNetwork(given, done.length), validation };
  try {
    for (const name of config.pipeline.slice(done.length)) {
      const stage = await runStage(run, name, point?.stage === name ? point : null);
      if (!stage) break;
      if ("mIoU" in stage) result.stages.push(stage);
      else result.pretraining = stage;
      folder.writeResult(result);
      gpu.pool.trim();
    }
  } finally {
    run.network.dispose();
  }
  return result;
}

/** The stages that have run to their end, and what is known of them. */
function resultSoFar(
  { config: { pipeline, stages, seed }, gpu, folder }: Omit<Run, "network" | "validation">,
  point: ResumePoint | null,
): { done: StageName[]; result: RunResult } {
  const found = folder.readResult();
  const scores = (name: string) => found?.stages.filter((stage) => stage.name === name) ?? [];
  const hasResult = (name: StageName) =>
    name === "selfsup" ? found?.pretraining !== undefined : scores(name).length > 0;
  // A stage with a result has nothing left to do but to give its network to the next one.
  const isDone = point !== null && point.step === stages[point.stage].steps &&
    hasResult(point.stage);
  const done = point ? pipeline.slice(0, pipeline.indexOf(point.stage) + Number(isDone)) : [];
  const pretraining = done.includes("selfsup") ? found?.pretraining : undefined;
  const result = { adapter: gpu.adapter.description, seed, stages: done.flatMap(scores) };
  return { done, result: pretraining ? { ...result, pretraining } : result };
}

/** The network that the stage after the first `done` of the pipeline starts from. */
function startingNetwork(
  { config, gpu, data, folder }: Omit<Run, "network" | "validation">,
  done: number,
): DeepLab {
  const classes = data.classes.names.length;
  const path = networkBefore(folder, config, done) ?? config.init;
  const create = (featureNorm = false) => createNetwork(config, gpu, classes, featureNorm);
  if (path === null) return create();
  if (!isCheckpoint(path)) return startFromWeights(path, create);
  using checkpoint = new Checkpoint(path);
  const network = create(checkpoint.has(FEATURE_NORM));
  try {
    checkpoint.restore(network.stateDict(), "network.");
  } catch (error) {
    network.dispose();
    throw error;
  }
  return network;
}

/**
 * The network of a configuration.
 *
 * @param featureNorm Whether a batch norm stands between backbone and head, as in students.
 * @param init Its starting weights, or none where others follow.
 */
export function createNetwork(
  { network, memory: { recompute, activations }, seed }: RunConfig,
  gpu: Gpu,
  classes: number,
  featureNorm = false,
  init: "he" | "none" = "he",
): DeepLab {
  return new DeepLab(gpu, { ...network, recompute, activations, classes, featureNorm, seed, init });
}

/** Runs one stage, or the rest of one; undefined where it was stopped. */
async function runStage(
  run: Run,
  name: StageName,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data } = run;
  const { batch, cropHeight, cropWidth, longSide, scales, flip } = config.data;
  const load = (dataset: Dataset, stream: string, views: ViewOptions | null = null) =>
    new Loader({
      dataset,
      order: "shuffled",
      seed: config.seed,
      stream: `${name}/${stream}`,
      workers: DECODING_THREADS,
      views,
    });
  const labelled = name === "oracle" ? data.openLabelledTarget() : data.source;
  const views: ViewOptions = {
    seed: config.seed,
    stage: name,
    view: { crop: { height: cropHeight, width: cropWidth }, longSide, scales, flip },
  };
  const isDistil = name === "stage2" || name === "stage3";
  const rendersViews = config.data.strongView === "randaugment" && (isDistil || name === "stage1");
  using source = load(labelled, "source");
  const targetImages = isDistil ? await pseudoLabelled(run, name, point) : data.target;
  using target = load(targetImages, "target", rendersViews ? views : null);
  for (const loader of [source, target]) loader.seek((point?.step ?? 0) * batch);
  const batches = new Batches({ ...views, gpu: run.gpu, batch }, source, target);
  const waited = () => batches.waited;
  switch (name) {
    case "stage2":
    case "stage3": {
      using stage = prepareDistil(run, name);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextDistil(), waited },
        point,
      );
    }
    case "selfsup": {
      using network = createNetwork(config, run.gpu, run.network.classes);
      const { selfsup } = config.stages;
      using stage = new SelfSupervised(network, { ...selfsup, ...optimizer(run, selfsup) });
      const nextBatch = () => batches.nextContrast(selfsup.places);
      return await finishStage(run, { stage, nextBatch, waited, isPretraining: true }, point);
    }
    case "source":
    case "oracle": {
      using stage = new SourceOnly(run.network, optimizer(run, config.stages[name]), name);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextSourceOnly(), waited },
        point,
      );
    }
    case "warmup": {
      using stage = makeWarmUp(run);
      return await finishStage(
        run,
        { stage, nextBatch: () => batches.nextWarmUp(), waited },
        point,
      );
    }
    case "stage1": {
      const prepared = await prepareDenoise(run, batches, point);
      using _ = prepared.stage;
      return await finishStage(run, prepared, point);
    }
  }
}

/** What making a stage takes. */
type StageParts = Pick<Run, "gpu" | "config" | "network">;

/** The warm-up of a network. */
export function makeWarmUp(run: StageParts): WarmUp {
  const { gpu, config: { seed, stages: { warmup } }, network } = run;
  const discriminator = new Discriminator(gpu, {
    classes: network.classes,
    planes: warmup.discriminatorPlanes,
    seed,
  });
  return new WarmUp(network, discriminator, { ...warmup, ...optimizer(run, warmup) });
}

/** Target images with pseudo labels of the network as the stage before has left it. */
async function pseudoLabelled(
  { config, data, folder, network, observer, signal }: Run,
  name: "stage2" | "stage3",
  point: ResumePoint | null,
): Promise<Dataset> {
  const { threshold, keep } = config.stages[name];
  const { classes } = data;
  const options = { folder: folder.pseudoLabelPath(name), classes };
  if (!point) { // where there is a checkpoint of the stage, they were complete
    if (config.stages[name].statistics === "target") {
      await estimateStatistics(network, data.target, config.data.longSide, signal);
    }
    observer.message(`${name}: pseudo labels of ${data.target.items.length} target images`);
    const { longSide } = config.data;
    await writePseudoLabels(network, data.target, {
      ...options,
      threshold,
      keep,
      longSide,
      signal,
    });
  }
  return withPseudoLabels(data.target, options);
}

/** The network of the stage before becomes the teacher, and the run goes on with the student. */
function prepareDistil(run: Run, name: "stage2" | "stage3"): Distil {
  const { gpu, config, folder, network: teacher } = run;
  const options = config.stages[name];
  const student = createNetwork(config, gpu, teacher.classes, options.featureNorm);
  try {
    const { studentStart } = options;
    startStudent(student, teacher, studentStart, folder, config.stages.selfsup.weights);
  } catch (error) {
    student.dispose();
    throw error;
  }
  run.network = student;
  return new Distil(student, teacher, { ...options, ...optimizer(run, options) }, name);
}

async function prepareDenoise(
  run: Run,
  batches: Batches,
  point: ResumePoint | null,
): Promise<Prepared<DenoiseBatch>> {
  const { gpu, config, network } = run;
  // Where there is a checkpoint of the stage, the soft labels were complete, and it holds the prototypes.
  const { softLabels, bank } = point
    ? {
      softLabels: new SoftLabels(run.folder.softLabelPath),
      bank: bankFor(network, prototypeVariants(config)),
    }
    : await makeSoftLabels(run);
  const stage = makeDenoise(run, bank);
  return {
    stage,
    nextBatch: () => batches.nextDenoise(softLabels),
    waited: () => batches.waited,
    makeLabels: (samples, images) => {
      using probabilities = softLabels.upload(gpu, samples.map(({ name }) => indexOf(run, name)));
      return stage.denoise(images, probabilities);
    },
  };
}

/** Stage 1, its momentum encoder a copy of the network; the prototypes pass to it. */
export function makeDenoise(run: StageParts, bank: PrototypeBank): Denoise {
  const { gpu, config, network } = run;
  const encoder = createNetwork(config, gpu, network.classes, false, "none");
  encoder.loadStateDict(network.stateDict());
  const { stage1 } = config.stages;
  return new Denoise(network, encoder, bank, { ...stage1, ...optimizer(run, stage1) });
}

function indexOf({ data }: Run, name: string): number {
  return data.target.items.findIndex((item) => item.name === name);
}

async function makeSoftLabels({ config, data, folder, network, observer, signal }: Run) {
  const images = data.target.items.length;
  observer.message(`stage1: soft labels and prototypes of ${images} target images`);
  const { longSide } = config.data;
  const variants = prototypeVariants(config);
  if (config.stages.stage1.statistics === "target") {
    await estimateStatistics(network, data.target, longSide, signal);
  }
  return await labelTarget(network, data.target, folder.softLabelPath, longSide, signal, variants);
}

function prototypeVariants({ stages: { stage1 } }: RunConfig) {
  return { startVariant: stage1.prototypeStart, updateVariant: stage1.prototypeUpdate };
}

/** How a stage optimises its network. */
export function optimizer({ config }: Pick<Run, "config">, stage: StageConfig): OptimizerOptions {
  return { ...stage, seed: config.seed, accumulate: config.memory.accumulate };
}

/** Runs the loop from where the stage stands, then writes samples and result. */
async function finishStage<B>(
  run: Run,
  { stage, nextBatch, waited, makeLabels, isPretraining = false }: Prepared<B>,
  point: ResumePoint | null,
): Promise<StageResult | PretrainingResult | undefined> {
  const { config, data, folder, network, observer, signal } = run;
  const { steps } = config.stages[stage.name as StageName];
  const started = performance.now();
  const secondsSoFar = () => (point?.seconds ?? 0) + (performance.now() - started) / 1000;
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
    const result = { name: stage.name, steps: end.steps, seconds: secondsSoFar() };
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
    seconds: secondsSoFar(),
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
