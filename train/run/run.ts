// A whole run: data, run folder, and the stages of the pipeline one after the other.

import { type Gpu, GpuError } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import type { RunConfig } from "../config/settings.ts";
import { openRunData, type RunData } from "./run_data.ts";
import { DataError } from "../base/data_error.ts";
import type { Cause } from "../evaluation/causes.ts";
import type { RunState } from "./run_state.ts";
import { Fingerprint } from "../data/fingerprint.ts";
import { afterDevice } from "../parallel/after_device.ts";
import { differenceBetween } from "../parallel/agreement.ts";
import { type Collective, CollectiveError } from "../parallel/collective.ts";
import { largestOf } from "../parallel/gather.ts";
import { leaderAlone, leaderFirst } from "../parallel/leader.ts";
import { shareOf } from "../parallel/peers.ts";
import { Solo } from "../parallel/solo.ts";
import { Loader } from "../data/loader.ts";
import type { MetricLine } from "./metrics_file.ts";
import type { TrainingObserver } from "./observer.ts";
import { configOf, findResumePoint, type ResumePoint } from "./resume.ts";
import {
  type PretrainingResult,
  resultOfStage,
  RunFolder,
  type RunResult,
  type StageResult,
} from "./run_folder.ts";
import { markHandedOn, reasonFor } from "./handing_on.ts";
import { libraryName, restoreChoices, settleChoices } from "./run_choices.ts";
import { refuseUnlearnt } from "./judgement.ts";
import { sourceOrder } from "./source_order.ts";
import { runStage } from "./stage_run.ts";
import { scoresOfStart } from "./start_scores.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import { createNetwork } from "./stage_context.ts";
import {
  checkBackbones,
  checkpointsBefore,
  networkBefore,
  networkGivenTo,
  networkIn,
} from "./starts.ts";
import { isCheckpoint, startFromWeights } from "../networks/weights_file.ts";
import { TrainingError } from "./training_error.ts";
import { VERSION } from "../base/version.ts";

/** What a run is told beside its configuration: nothing that changes what it computes, but for last bits. */
export interface RunOptions {
  /**
   * The processes that train together; this one alone unless given. All call the same function with the same
   * arguments, each with a device of its own that was opened with `peersOf(ranks)`. Rank 0 alone writes to the
   * run folder, which all see under the same path.
   */
  readonly ranks?: Collective | undefined;
  /** Chooses them for a new run, with so many classes, and adds them to those of the device. */
  readonly tune?: ((config: RunConfig, classes: number) => Promise<void>) | undefined;
  /**
   * Whether it goes on where its network has not learnt the source. The run remembers that it was told so
   * when it is resumed.
   */
  readonly keepGoing?: boolean | undefined;
  /** What was found wrong with the data of a new run before. */
  readonly causes?: readonly Cause[] | undefined;
}

/** What a run that goes on is told beside its own configuration. */
export interface ResumeOptions extends RunOptions {
  /** Whether it also goes on where its data have changed. */
  readonly acceptChangedData?: boolean | undefined;
  /** Whether it chooses its ways anew, at the price of other last bits. */
  readonly tuneAfresh?: boolean | undefined;
}

/**
 * Trains the stages of `config.pipeline` in a new run folder, each from the network of the one before.
 *
 * @param signal Stops after the current step, with everything saved.
 * @returns What `result.json` holds: the stages that ran to their end.
 * @throws {DataError} If data or run folder cannot be used; what fails before the first step leaves no
 *   run folder.
 * @throws {TrainingError} If the GPU fails, or the source is not learnt after a stage, with everything
 *   saved.
 * @throws {DivergenceError} If the loss is not finite.
 * @throws {CollectiveError} If ranks were told different things, or one of them has failed.
 * @throws The signal's reason, if it comes between stages, while soft labels are made.
 */
export async function runTraining(
  config: RunConfig,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
  { ranks: given = new Solo(), tune, keepGoing = false, causes = [] }: RunOptions = {},
): Promise<RunResult> {
  const ranks = afterDevice(given, gpu);
  checkRanks(config, gpu, ranks);
  const data = await leaderFirst(
    ranks,
    () => openRunData(config.data, (text) => observer.message(text), signal),
  );
  checkSelection(config, data);
  for (const name of config.pipeline) {
    kindOf(name).check?.(config.stages[name], data.classes.names);
  }
  const taken = checkpointsBefore(config); // before there is a folder
  using fingerprint = fingerprintOf(config, data);
  await checkAlike(ranks, config, fingerprint, null);
  if (ranks.rank === 0) fingerprint.start();
  using folder = await leaderFirst(
    ranks,
    () => RunFolder.create(config.out, config),
    () => RunFolder.follow(config.out),
  );
  try {
    const base = { config, gpu, ranks, data, fingerprint, folder, observer, signal };
    await leaderAlone(ranks, () => folder.adopt(taken));
    await settle(base, tune);
    return await trainStages(base, null, keepGoing, causes);
  } catch (error) {
    if (!signal.aborted) folder.discardUnlessBegun();
    throw error;
  }
}

/**
 * Goes on with a run that was interrupted, wherever that was. On the same adapter and driver it ends in
 * the same bits as a run that was not.
 *
 * @param path The run folder.
 * @returns What `result.json` holds.
 * @throws {DataError} If data or run folder cannot be used, or `config.json` or the data were changed.
 * @throws {TrainingError} If the GPU fails while it trains, or the source is not learnt.
 * @throws The signal's reason, if it comes between stages, while soft labels are made.
 */
export async function resumeTraining(
  path: string,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
  options: ResumeOptions = {},
): Promise<RunResult> {
  const { acceptChangedData = false, keepGoing = false } = options;
  const ranks = afterDevice(options.ranks ?? new Solo(), gpu);
  const message = (text: string) => observer.message(text);
  using folder = await leaderFirst(
    ranks,
    () => RunFolder.open(path),
    () => RunFolder.follow(path),
  );
  const config = configOf(folder);
  checkRanks(config, gpu, ranks);
  const point = await leaderFirst(ranks, () => findResumePoint(folder, config, message));
  const data = await leaderFirst(ranks, () => openRunData(config.data, message, signal));
  using fingerprint = fingerprintOf(config, data);
  await checkAlike(ranks, config, fingerprint, point);
  await leaderAlone(ranks, () => {
    if (point) checkData(folder, point, fingerprint, acceptChangedData, message);
    else folder.adopt(checkpointsBefore(config));
  });
  const base = { config, gpu, ranks, data, fingerprint, folder, observer, signal };
  const { tune, tuneAfresh = false } = options;
  const isUnsettled = restoreChoices(gpu, folder, point !== null, message) || tuneAfresh;
  // Adapters may differ, and what one lacks all settle.
  if (await largestOf(ranks, Number(isUnsettled)) > 0) await settle(base, tune);
  if (ranks.rank === 0) fingerprint.start();
  return await trainStages(base, point, keepGoing);
}

/**
 * Refuses a number of ranks that a run cannot be divided among.
 *
 * @throws {DataError} If there is none.
 */
function checkRanks(
  { data: { batch }, memory: { accumulate }, parallel: { shards } }: RunConfig,
  gpu: Gpu,
  { size }: Collective,
): void {
  const { size: opened } = gpu.peers ?? { size: 1 };
  if (opened !== size) {
    throw new TypeError(
      `Cannot train on ${size} ranks with a device of ${opened}: expected one opened with peersOf(ranks)`,
    );
  }
  if (shards > 0 && size !== shards) {
    throw new DataError(
      `Cannot train on ${size} ranks as parallel.shards is ${shards}: expected as many; start a number of ` +
        `processes that divides ${shards}`,
    );
  }
  if (batch % (size * accumulate) !== 0) {
    const parts = accumulate > 1 ? `, each of which takes its share in ${accumulate} parts` : "";
    throw new DataError(
      `Cannot divide a batch of ${batch} images among ${size} ranks${parts}: expected a number that divides ` +
        "data.batch; start another number of processes, or change the batch of a new run",
    );
  }
}

/**
 * Refuses to begin where ranks were told different things.
 *
 * @throws {CollectiveError} On all ranks.
 */
async function checkAlike(
  ranks: Collective,
  config: RunConfig,
  fingerprint: Fingerprint,
  point: ResumePoint | null,
): Promise<void> {
  if (ranks.size === 1) return;
  const difference = await differenceBetween(ranks, {
    "its version of the program": `${VERSION} ${libraryName()}`,
    "its configuration": JSON.stringify(config),
    "its data": fingerprint.list,
    "the checkpoint that it goes on from": point ? `${point.stage} ${point.step}` : "none",
  });
  if (difference === null) return;
  throw new CollectiveError(
    `Cannot train together as rank ${difference.rank} differs from rank 0 in ${difference.what}: expected the ` +
      "same on all ranks; start all by one command, with the same files under the same paths",
  );
}

/** Has rank 0 settle the ways of computing, which the others then take over. */
async function settle(
  { config, data, folder, gpu, observer, ranks, signal }: RunBase,
  tune: RunOptions["tune"],
): Promise<void> {
  const batch = config.data.batch / ranks.size;
  const own = { ...config, data: { ...config.data, batch } };
  await leaderFirst(
    ranks,
    () => settleChoices(gpu, folder, signal, () => tune?.(own, data.classes.names.length)),
    () => void restoreChoices(gpu, folder, false, (text) => observer.message(text)),
  );
}

/** The files that a run trains and measures on. */
function fingerprintOf({ pipeline }: RunConfig, data: RunData): Fingerprint {
  const isReference = pipeline.some((name) => kindOf(name).role === "reference");
  const target = isReference ? data.openLabelledTarget() : data.target;
  const { source, sourceValidation, validation } = data;
  return new Fingerprint({
    source,
    target,
    val: validation,
    ...(sourceValidation ? { sourceVal: sourceValidation } : {}),
  });
}

/** Refuses to go on with other data than a checkpoint has seen, unless that is wanted. */
function checkData(
  folder: RunFolder,
  { data, path }: ResumePoint,
  fingerprint: Fingerprint,
  isAccepted: boolean,
  message: (text: string) => void,
): void {
  const difference = data &&
    fingerprint.differenceFrom(
      data,
      (files) => message(`${files} files of the data have other times than before: reading them`),
    );
  if (difference === null) return;
  const changed = `the data have changed since checkpoint ${path} was written: ${difference}`;
  if (!isAccepted) {
    throw new DataError(
      `Cannot resume ${folder.path} as ${changed}; put the data back, start a new run, or accept the ` +
        `changed data`,
      { options: ["acceptChangedData"] },
    );
  }
  message(`WARNING: the run goes on with changed data, as is wanted; ${changed}`);
}

/** Refuses to select by labels where there are none. */
function checkSelection({ select }: RunConfig, { validation }: RunData): void {
  if (select !== "labels" || validation.trainIds !== null) return;
  throw new DataError(
    `Cannot select networks by labels as ${validation.root} has none of its val images: expected ` +
      `labels to measure on; add them, or set select to "unsupervised"`,
    { options: ["select"] },
  );
}

/** What a run has before its first stage. */
type RunBase = Omit<
  RunState,
  "network" | "networkBefore" | "sourceOrder" | "validation" | "sourceValidation" | "done"
>;

/** Trains the stages of the pipeline, or those after a checkpoint and what is left of its own. */
async function trainStages(
  given: RunBase,
  point: ResumePoint | null,
  keepGoing: boolean,
  causes: readonly Cause[] = [],
): Promise<RunResult> {
  const { config, gpu, data, folder, ranks } = given;
  const { done, result } = resultSoFar(given, point);
  if (causes.length > 0) result.causes = causes;
  if (keepGoing) result.keepGoing = true;
  const resumed = point && !done.includes(point.stage) ? point : null;
  checkBackbones(config, folder, done.length + Number(resumed !== null));
  const share = shareOf(ranks);
  using validation = new Loader({ dataset: data.validation, order: "sequential", share });
  using sourceValidation = data.sourceValidation &&
    new Loader({ dataset: data.sourceValidation, order: "sequential", share });
  const warn = (text: string) => given.observer.message(text);
  const stepsDone = new Map<string, number>(done.map((name) => [name, config.stages[name].steps]));
  if (point) stepsDone.set(point.stage, point.step);
  await leaderAlone(ranks, () => {
    const isKept = ({ stage, step }: MetricLine) => step < (stepsDone.get(stage) ?? 0);
    warnOfGaps(folder, folder.rewindMetrics(isKept, warn), stepsDone, warn);
    folder.unmarkDone();
    folder.writeResult(result); // also where the first stage is stopped
  });
  const isAtStageEnd = point !== null && resumed === null;
  if (isAtStageEnd) refuseUnlearnt(result, folder.path, warn);
  if (!data.sourceValidation && config.data.heldOut.share > 0) {
    const { length } = data.source.items;
    warn(
      `${length} source images are too few to hold some out: nothing will tell whether they are learnt`,
    );
  }
  const run: RunState = {
    ...given,
    network: startingNetwork(given, done.length, resumed),
    networkBefore: (name) => startingNetwork(given, config.pipeline.indexOf(name), null),
    sourceOrder: sourceOrder({ ...given, classes: given.data.classes, message: warn }),
    validation,
    sourceValidation,
    done: result.stages,
  };
  try {
    const start = result.start ?? (point ? undefined : await scoresOfStart(run));
    if (start) {
      result.start = start;
      folder.writeResult(result);
    }
    for (const name of config.pipeline.slice(done.length)) {
      const stage = await runStage(run, name, resumed?.stage === name ? resumed : null)
        .catch((error) => {
          throw failureOf(name, error);
        });
      if (!stage) return result;
      addResult(result, stage);
      const best = markHandedOn(result);
      await leaderAlone(ranks, () => folder.writeResult(result));
      if ("mIoU" in stage) {
        refuseUnlearnt(result, folder.path, warn);
        if (best && best !== stage) handOnEarlier(run, best, stage);
      }
      gpu.pool.trim();
    }
    folder.markDone();
    return result;
  } finally {
    run.network.dispose();
  }
}

/** Puts the best network so far in the place of that of the stage that has just ended, and says so. */
function handOnEarlier(run: RunState, best: StageResult, ended: StageResult): void {
  const { pipeline, handOn } = run.config;
  const done = pipeline.indexOf(ended.name as StageName) + 1;
  const isEnd = done === pipeline.length;
  if (handOn === "last" && !isEnd) return;
  run.observer.message(reasonFor(best, ended));
  if (isEnd) return;
  const network = startingNetwork(run, done, null);
  run.network.dispose();
  run.network = network;
}

/** Tells of steps that were made and have no record. */
function warnOfGaps(
  folder: RunFolder,
  records: readonly MetricLine[],
  stepsDone: ReadonlyMap<string, number>,
  warn: (text: string) => void,
): void {
  for (const [stage, steps] of stepsDone) {
    const found = new Set(
      records.filter((record) => record.stage === stage).map(({ step }) => step),
    );
    if (found.size === steps) continue;
    const first = Array.from({ length: steps }, (_, step) => step).find((step) => !found.has(step));
    warn(
      `WARNING: ${folder.path}/metrics.jsonl has no record of ${
        steps - found.size
      } of the ${steps} ` +
        `steps that ${stage} has made, step ${first} first: curves will have a gap`,
    );
  }
}

/** What a stage was ended by: where the GPU has failed, that the training has. */
function failureOf(stage: StageName, error: unknown): unknown {
  if (!(error instanceof GpuError)) return error;
  return new TrainingError(`Training failed in stage ${stage}. ${error.message}`, { cause: error });
}

/** The stages that have run to their end, and what is known of them. */
function resultSoFar(
  { config: { pipeline, stages, seed }, gpu, folder, observer, ranks }: RunBase,
  point: ResumePoint | null,
): { done: StageName[]; result: RunResult } {
  const found = folder.readResult();
  const adapter = gpu.adapter.description;
  if (found && found.adapter !== adapter) {
    observer.message(
      `NOTE: the run was on "${found.adapter}" so far and goes on on "${adapter}": ` +
        "its last bits may differ from those of a run on one adapter and driver",
    );
  }
  // A stage with a result has nothing left to do but to give its network to the next one.
  const isDone = point !== null && point.step === stages[point.stage].steps &&
    resultOfStage(found, point.stage) !== undefined;
  const done = point ? pipeline.slice(0, pipeline.indexOf(point.stage) + Number(isDone)) : [];
  const isNew = found === null && point === null;
  const begun = isNew ? { started: new Date().toISOString(), version: VERSION } : found;
  const result: RunResult = {
    adapter,
    ...(ranks.size > 1 ? { ranks: { size: ranks.size, engine: ranks.engine } } : {}),
    seed,
    ...(begun?.started ? { started: begun.started } : {}),
    ...(begun?.version ? { version: begun.version } : {}),
    stages: [],
    ...(found?.start ? { start: found.start } : {}),
    ...(found?.causes ? { causes: found.causes } : {}),
    ...(found?.keepGoing ? { keepGoing: true } : {}),
  };
  for (const name of done) {
    const stage = resultOfStage(found, name);
    addResult(result, stage);
    if (stage) continue;
    observer.message(
      `WARNING: ${folder.path}/result.json says nothing of ${name}, which has run to its end: its scores ` +
        `are left out, and its checkpoint can be evaluated`,
    );
  }
  markHandedOn(result);
  return { done, result };
}

function addResult(result: RunResult, stage: StageResult | PretrainingResult | undefined): void {
  if (!stage) return;
  if ("mIoU" in stage) result.stages.push(stage);
  else result.pretraining = stage;
}

/**
 * The network that the stage after the first `done` of the pipeline is given: the one before it has left
 * it, or, where that stage goes on, the one in its own checkpoint.
 */
function startingNetwork(
  { config, gpu, data, folder }: RunBase,
  done: number,
  point: ResumePoint | null,
): DeepLab {
  const classes = data.classes.names.length;
  const create = (featureNorm = false) => createNetwork(config, gpu, classes, { featureNorm });
  const own = point && networkGivenTo(point);
  const path = own ? own.path : networkBefore(folder, config, done) ?? config.init;
  if (path === null) return create();
  if (!isCheckpoint(path)) return startFromWeights(path, create);
  using checkpoint = new Checkpoint(path);
  return networkIn(checkpoint, create, own?.prefix);
}
