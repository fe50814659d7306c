// `train`: flags and config files to a configuration, then the run.

import { join } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { DataError } from "../train/base/data_error.ts";
import { exists } from "../train/base/folders.ts";
import { takeFailure } from "../train/parallel/failure.ts";
import { together } from "../train/run/observer.ts";
import { scoredNetworks } from "../train/run/run_folder.ts";
import { resumeTraining, runTraining } from "../train/run/run.ts";
import { TensorBoardLog } from "../train/run/tensorboard.ts";
import { PRESETS } from "../train/config/presets.ts";
import { kindOf, STAGES } from "../train/stages/kinds.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { SELECTIONS } from "../train/evaluation/selection.ts";
import { describeRun, nextCommands } from "./run_texts.ts";
import { autotuneOf, tuneRun } from "./autotune.ts";
import { withGpu } from "./device.ts";
import { dryRun, formatDryRun } from "./dry_run.ts";
import { inJob, type Job } from "./job.ts";
import {
  adaptersOption,
  checkMpiFlags,
  collectiveTimeoutOption,
  MPI_GROUP,
  mpiOption,
  shareAdapterOption,
} from "./mpi_options.ts";
import { kernelsOption, memoryBudgetOption, profileOption, splitOption } from "./options.ts";
import { print, printError } from "./output.ts";
import { classTable, openProgress, screen, SILENCE } from "./progress.ts";
import { StopSignals } from "./signals.ts";
import {
  isNamedByTime,
  type ResolvedConfig,
  resolveTraining,
  resumedConfig,
  type TrainFlags,
  withChosenSizes,
} from "./train_config.ts";
import {
  KNOWN_LAYOUTS,
  parseAnother,
  parseCount,
  parseLayout,
  parseName,
  parseNames,
  parsePreset,
  parseRecipe,
  parseSeed,
  parseTime,
  parseWords,
} from "./values.ts";

/** Adds the command to the program. */
export function addTrain(program: Command, finish: (exitCode: number) => void): void {
  program.command("train")
    .summary("adapt a network from a source to a target domain")
    .description(
      "Adapt a segmentation network from a labelled source domain to an unlabelled target domain, in the " +
        "stages named below. Without flags it runs on the built-in benchmark, streets.",
    )
    .optionsGroup("For the first day:")
    .option(
      "--preset <name>",
      "for streets: default, on two cores without a GPU, or quick, in two minutes, from a network that comes with the project to stage 1;\nfor your data: small, on two cores or an integrated GPU, medium, ResNet-50 for hours of a desktop's GPU, or full, the published recipe, for days of a large one (default: for your data what suits it, the adapter and --time)",
      parsePreset,
    )
    .option("--source <dir>", "labelled source images (default: streets)")
    .option("--target <dir>", "target images; val labels measure the result (default: streets)")
    .option(
      "--time <time>",
      "how long it may take, such as 40m, 2h or 1h30m: the most that fits is chosen for your data, or the steps of --preset are scaled (default: 25m where --preset is left out)",
      parseTime,
    )
    .option(
      "--out <dir>",
      "run folder, new or empty (default: runs/PRESET-DATE-TIME; runs/own-DATE-TIME for your data without a preset)",
    )
    .optionsGroup("Data:")
    .option(
      "--source-layout <layout>",
      `how the files of --source lie: ${KNOWN_LAYOUTS} (default: gta5)`,
      parseLayout,
    )
    .option(
      "--target-layout <layout>",
      `how those of --target lie, likewise (default: cityscapes)`,
      parseLayout,
    )
    .option(
      "--classes <names>",
      "classes to train: names, or 19, 16 or 13 as results on Cityscapes are published (default: those of the data)",
      parseWords,
    )
    .addOption(splitOption)
    .optionsGroup("Run:")
    .option(
      "--recipe <name>",
      "where paper and released code disagree, follow the paper or the official code (default: the preset's choices)",
      parseRecipe,
    )
    .option(
      "--config <file>",
      "JSON or TypeScript file with any keys of the run's configuration; a later one wins, and flags win over all",
      parseAnother,
    )
    .option(
      "--stages <names>",
      `stages to run, of ${STAGES.join(",")} (default: ${PRESETS.default.pipeline.join(",")}; ` +
        `with --preset full: ${PRESETS.full.pipeline.join(",")})`,
      parseNames(STAGES),
    )
    .option("--until <stage>", "stop after this stage", parseName(STAGES))
    .option(
      "--from <stage>",
      "start with this stage, where the run of --base has done those before it",
      parseName(STAGES),
    )
    .option(
      "--base <dir>",
      "the run that --from goes on from: its configuration holds unless other flags change it, its checkpoints are copied, and it stays as it is",
    )
    .option(
      "--resume <dir>",
      "go on with the interrupted run in this folder; its config.json decides everything",
    )
    .option(
      "--accept-changed-data",
      "with --resume: go on although images or labels are not those that the run has trained on",
    )
    .option(
      "--keep-going",
      "go on where the network has not learnt the source, which otherwise ends the run after that stage with exit code 3; also with --resume",
    )
    .option(
      "--select <how>",
      "network of a stage that counts: its last, or the best by val labels or unsupervised, by the label-free score (default: last)",
      parseName(SELECTIONS),
    )
    .option(
      "--init <file>",
      "weights that the first stage starts from: a checkpoint, .pth or safetensors; of the backbone alone where they have no head (default: random)",
    )
    .option(
      "--student-init <file>",
      "weights of a backbone that students of stages 2 and 3 start from, such as SimCLRv2's, in place of stage selfsup",
    )
    .option("--steps <n>", "optimiser steps of every stage", parseCount)
    .option("--seed <n>", "seed of weights, data order, views and dropout (default: 0)", parseSeed)
    .option(
      "--dry-run",
      "train nothing; show parameters, arithmetic, peak GPU memory and time of every stage",
    )
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .option(
      "--recompute",
      "run blocks again in the backward instead of keeping activations: the same bits, a third slower, a fraction of the memory",
    )
    .addOption(kernelsOption)
    .option(
      "--accumulate <n>",
      "learn a step's batch in n parts, one after the other: the same losses and gradients, but batch norms see a part only (default: 1)",
      parseCount,
    )
    .option(
      "--autotune [file]",
      "before the first step, time the ways of computing convolutions and products, for a minute at most, and keep to the fastest: other last bits (default: on GPUs, not on software adapters; file that remembers: autotune.json beside the run folder)",
    )
    .option("--no-autotune", "compute in the ways that are expected to be the fastest")
    .addOption(profileOption)
    .optionsGroup(MPI_GROUP)
    .addOption(mpiOption)
    .addOption(adaptersOption)
    .addOption(shareAdapterOption)
    .addOption(collectiveTimeoutOption)
    .optionsGroup("Output:")
    .option(
      "--tensorboard",
      "also write losses, scores and samples for TensorBoard to the run folder",
    )
    .option("--json", "print the result as JSON; progress goes to standard error")
    .addHelpText(
      "after",
      `
Stages:
${describeStages()}

The run folder holds config.json, metrics.jsonl (one line per step), result.json, checkpoints/ and
samples/. Ctrl+C stops after the current step with everything saved; a second one stops at once.
SIGUSR2, which schedulers can send before they end a job, does as the first one does. Of several
processes the first one prints; send SIGUSR2 to mpirun to stop them, as after Ctrl+C it kills them.

Examples:
  ./run train
  ./run train --preset quick --seed 1 --out runs/first
  ./run train --source ~/game --source-layout folder \\
    --target ~/camera --target-layout folder --time 40m
  ./run train --source ~/gta5 --target ~/cityscapes --preset full --memory-budget 40GiB
  ./run train --preset full --recompute --dry-run
  ./run train --stages oracle        what training on the target's own labels would reach
  ./run train --config runs/first/config.json --out runs/again
  ./run train --config experiments/gta5_to_cityscapes.json --config experiments/one_gpu.json
  ./run train --resume runs/first    after Ctrl+C, a crash or a power cut
  mpirun -n 2 --bind-to none ./run train --mpi --preset quick
                                     one network on two GPUs; elsewhere with --share-adapter
  ./run train --until stage1 --out runs/one
  ./run train --from selfsup --base runs/one --out runs/two`,
    )
    .action(async (flags) => finish(await train(flags)));
}

/** A line about each stage. */
function describeStages(): string {
  const width = Math.max(...STAGES.map(({ length }) => length));
  return STAGES.map((name) => `  ${name.padEnd(width)}  ${kindOf(name).summary}`).join("\n");
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

/** Trains alone, or as one process of several. */
async function train(flags: TrainFlags): Promise<number> {
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

/** Runs the training; the first process alone prints its progress and result. */
async function trainAs(flags: TrainFlags, job: Job | null): Promise<number> {
  const now = new Date();
  const own = flags.resume === undefined
    ? await resolveTraining(flags, now)
    : resumedConfig(flags, flags.resume);
  if (flags.dryRun) return await showDryRun(flags, now, own);
  const resolved = await job?.agree(own, isNamedByTime(flags, own, now)) ?? own;
  const { config } = resolved; // its folder holds, whatever is chosen
  const autotune = autotuneOf(flags.autotune, config.out);
  const isFirst = job?.isFirst ?? true;
  const output = screen(flags.json ? "stderr" : "stdout");
  const progress = !isFirst
    ? SILENCE
    // Open MPI shows its processes a terminal whatever it writes to.
    : await openProgress(job ? { ...output, isTerminal: false } : output, config.logEvery);
  using log = flags.tensorboard && isFirst ? new TensorBoardLog(config.out) : null;
  const observer = together(progress, ...log ? [log] : [], ...job ? [job.observer] : []);
  const message = (text: string) => progress.message(text);
  if (flags.resume !== undefined && isFirst) tellFailure(flags.resume, message);
  using stop = new StopSignals(message, "step");
  job?.chooseAdapter();
  const device = { ...flags, autotune: isFirst ? autotune : undefined, peers: job?.peers };
  try {
    const result = await stop.guard(() =>
      withGpu(device, message, async (gpu) => {
        if (job) await meetAdapters(gpu, job, message);
        message(`${gpu.adapter.description}; run folder ${config.out}`);
        const chosen = await chooseSizes(gpu, flags, now, resolved, { stop, job });
        for (const reason of chosen.reasons ?? []) message(reason);
        if (flags.resume === undefined) message(describeRun(chosen.config, flags));
        const tune = autotune && ((config: RunConfig, classes: number) => {
          const tuneThis = () => tuneRun(gpu, autotune, { config, classes }, message, stop.signal);
          return job ? tuneAlike(gpu, { job, stop }, tuneThis) : tuneThis();
        });
        const { acceptChangedData, keepGoing } = flags;
        const ranks = job?.ranks;
        return flags.resume === undefined
          ? runTraining(chosen.config, gpu, observer, stop.signal, {
            tune,
            keepGoing,
            causes: chosen.causes,
            ranks,
          })
          : resumeTraining(config.out, gpu, observer, stop.signal, {
            acceptChangedData,
            tuneAfresh: autotune?.isAsked,
            tune,
            keepGoing,
            ranks,
          });
      })
    );
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

/** Says what has ended the run that goes on, which is then past. */
function tellFailure(folder: string, message: (text: string) => void): void {
  const failure = takeFailure(folder);
  if (failure !== null) message(failure);
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

/** {@link withChosenSizes}; of several processes the first one chooses. */
async function chooseSizes(
  gpu: Gpu,
  flags: TrainFlags,
  now: Date,
  resolved: ResolvedConfig,
  { stop, job }: { readonly stop: StopSignals; readonly job: Job | null },
): Promise<ResolvedConfig> {
  const choose = () => withChosenSizes(gpu, flags, now, resolved, stop.signal);
  if (!job) return await choose();
  return await job.ofFirst(stop, choose);
}

/** Tunes on the first process, whose choices all of them take. */
async function tuneAlike(
  gpu: Gpu,
  { job, stop }: { readonly job: Job; readonly stop: StopSignals },
  tune: () => Promise<void>,
): Promise<void> {
  const table = await job.ofFirst(stop, async () => {
    await tune();
    return gpu.choices.table;
  });
  gpu.choices.add(table);
}
