// What `train` does: flags to a configuration, then the run, alone or as one process of several.

import { join } from "node:path";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { DataError } from "../train/base/data_error.ts";
import { exists } from "../train/base/folders.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { type Collective, CollectiveError } from "../train/parallel/collective.ts";
import { takeFailure } from "../train/parallel/failure.ts";
import { peersOf } from "../train/parallel/peers.ts";
import { shardsOf } from "../train/parallel/shards.ts";
import { Solo } from "../train/parallel/solo.ts";
import { together, type TrainingObserver } from "../train/run/observer.ts";
import { type RunResult, scoredNetworks } from "../train/run/run_folder.ts";
import { resumeTraining, runTraining } from "../train/run/run.ts";
import { TensorBoardLog } from "../train/run/tensorboard.ts";
import { autotuneOf, tuneRun } from "./autotune.ts";
import { type DeviceOptions, withGpu } from "./device.ts";
import { dryRun, formatDryRun } from "./dry_run.ts";
import { inJob, type Job } from "./job.ts";
import { checkMpiFlags } from "./mpi_options.ts";
import { print, printError } from "./output.ts";
import { classTable, openProgress, type Progress, screen, SILENCE } from "./progress.ts";
import { describeRun, nextCommands } from "./run_texts.ts";
import { StopSignals } from "./signals.ts";
import {
  isNamedByTime,
  type ResolvedConfig,
  resolveTraining,
  resumedConfig,
  type TrainFlags,
  withChosenSizes,
} from "./train_config.ts";

/** Trains alone, or as one process of several. @returns The exit code. */
export async function train(flags: TrainFlags): Promise<number> {
  checkMpiFlags(flags);
  if (flags.mpi === undefined) return await trainAs(flags, null);
  if (flags.dryRun) {
    throw new DataError(
      "Cannot plan a training as one of several processes: expected a plan for one, which all of them " +
        "need together; leave MPI out",
      { options: ["mpi", "dryRun"] },
    );
  }
  return await inJob(flags, (job) => trainAs(flags, job));
}

/** Prints what the training would take. */
async function showDryRun(flags: TrainFlags, now: Date, given: ResolvedConfig): Promise<number> {
  const device = { ...flags, autotune: undefined }; // that would time kernels which a plan does not run
  const [found, config] = await withGpu(device, printError, async (gpu) => {
    const resolved = await withChosenSizes(gpu, flags, now, given);
    return [await dryRun(gpu, resolved), resolved.config] as const;
  });
  print(flags.json ? JSON.stringify(found, null, 2) : formatDryRun(found, config));
  return 0;
}

/** Runs the training; the first process alone prints its progress and result. */
async function trainAs(flags: TrainFlags, job: Job | null): Promise<number> {
  const now = new Date();
  const own = flags.resume === undefined
    ? await resolveTraining(flags, now)
    : resumedConfig(flags, flags.resume);
  if (flags.dryRun) return await showDryRun(flags, now, own);
  const resolved = await job?.agree(own, isNamedByTime(flags, own, now)) ?? own;
  const { config } = resolved; // its folder holds, whatever is chosen
  const isFirst = job?.isFirst ?? true;
  const output = screen(flags.json ? "stderr" : "stdout");
  const progress = !isFirst
    ? SILENCE
    // Open MPI shows its processes a terminal whatever it writes to.
    : await openProgress(job ? { ...output, isTerminal: false } : output, config.logEvery);
  const message = (text: string) => progress.message(text);
  if (flags.resume !== undefined && isFirst) {
    const failure = takeFailure(flags.resume);
    if (failure !== null) message(failure);
  }
  using stop = new StopSignals(message, "step");
  try {
    const result = await stop.guard(() => runStages(flags, now, resolved, { job, progress, stop }))
      .catch((error) => {
        // Where the first process gives up between two steps, that is all that the others learn.
        if (job && stop.signal.aborted && error instanceof CollectiveError) return null;
        throw error;
      });
    progress.close();
    // A signal may have come to one process only; all of them have stopped.
    const exitCode = await job?.largest(stop.exitCode) ?? stop.exitCode;
    if (!isFirst) return exitCode;
    if (result !== null) {
      const table = classTable(scoredNetworks(result));
      if (table !== "") progress.message(`\n${table}\n`);
      if (exitCode === 0) progress.message(nextCommands(result, config.out));
      if (flags.json) print(JSON.stringify(result, null, 2));
    }
    if (exitCode !== 0 && exists(join(config.out, "config.json"))) {
      stop.message(`Stopped; ./run train --resume ${config.out} goes on`);
    }
    return exitCode;
  } finally {
    progress.close();
  }
}

/** What surrounds the stages. */
interface Surroundings {
  readonly job: Job | null;
  readonly progress: Progress;
  readonly stop: StopSignals;
}

/** Opens the device and trains. */
async function runStages(
  flags: TrainFlags,
  now: Date,
  resolved: ResolvedConfig,
  { job, progress, stop }: Surroundings,
): Promise<RunResult> {
  const { config } = resolved;
  const isFirst = job?.isFirst ?? true;
  const message = (text: string) => progress.message(text);
  const [first, ...others] = ranksOf(config, job);
  using log = flags.tensorboard && isFirst ? new TensorBoardLog(config.out) : null;
  const observer = together(progress, ...log ? [log] : [], ...job ? [job.observer] : []);
  const autotune = autotuneOf(flags.autotune, config.out);
  job?.chooseAdapter();
  const deviceOf = (ranks: Collective): DeviceOptions => ({
    ...flags,
    autotune: ranks.rank === 0 ? autotune : undefined,
    peers: ranks.size === 1 ? undefined : peersOf(ranks, config.parallel.wire),
  });
  return await withGpu(deviceOf(first), message, async (gpu) => {
    if (job) await meetAdapters(gpu, job, message);
    message(`${gpu.adapter.description}; run folder ${config.out}`);
    const chooseOn = (gpu: Gpu) => withChosenSizes(gpu, flags, now, resolved, stop.signal);
    const { memoryBudget, kernels } = flags;
    // What is measured to choose by would wait for peers, which choose nothing.
    const choose = () =>
      first.size === 1 ? chooseOn(gpu) : withGpu({ memoryBudget, kernels }, message, chooseOn);
    const chosen = job ? await job.ofFirst(stop, choose) : await choose();
    for (const reason of chosen.reasons ?? []) message(reason);
    if (flags.resume === undefined) message(describeRun(chosen.config, flags));
    const { acceptChangedData, keepGoing } = flags;
    const tune = autotune &&
      ((config: RunConfig, classes: number) =>
        tuneRun(gpu, autotune, { config, classes }, message, stop.signal));
    const trainOn = (gpu: Gpu, ranks: Collective, observer: TrainingObserver) =>
      flags.resume === undefined
        ? runTraining(chosen.config, gpu, observer, stop.signal, {
          ranks,
          tune,
          keepGoing,
          causes: chosen.causes,
        })
        : resumeTraining(config.out, gpu, observer, stop.signal, {
          ranks,
          acceptChangedData,
          tuneAfresh: autotune?.isAsked,
          tune,
          keepGoing,
        });
    const [result] = await Promise.all([
      trainOn(gpu, first, observer),
      ...others.map((ranks) =>
        withGpu(deviceOf(ranks), () => {}, (gpu) => trainOn(gpu, ranks, SILENCE))
      ),
    ]);
    return result;
  });
}

/**
 * The ranks that this process is: one, or where a run has a fixed number of shards, its part of them, each on
 * a device of its own. A number that processes cannot share is left to the run, which refuses it.
 */
function ranksOf({ parallel: { shards } }: RunConfig, job: Job | null): Collective[] {
  const outer = job?.ranks ?? new Solo();
  const count = shards / outer.size;
  return shards > 0 && Number.isInteger(count) ? shardsOf(outer, count) : [outer];
}

/** Compares the adapters of all processes, and tells of them. */
async function meetAdapters(
  { adapter }: Gpu,
  job: Job,
  message: (text: string) => void,
): Promise<void> {
  const all = await job.gather(job.seen(adapter));
  job.checkDistinct(all);
  for (const line of job.describe(all)) message(line);
}
