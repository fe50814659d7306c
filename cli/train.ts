// `train`: its flags. What they start is in run_training.ts.

import type { Command } from "@commander-js/extra-typings";
import { PRESETS } from "../train/config/presets.ts";
import { kindOf, STAGES } from "../train/stages/kinds.ts";
import { SELECTIONS } from "../train/evaluation/selection.ts";
import {
  adaptersOption,
  collectiveTimeoutOption,
  MPI_GROUP,
  mpiOption,
  shareAdapterOption,
} from "./mpi_options.ts";
import { kernelsOption, memoryBudgetOption, profileOption, splitOption } from "./options.ts";
import { train } from "./run_training.ts";
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
      "for streets: default, on two cores without a GPU, or quick, in a minute and a half, from a network that comes with the project to stage 1;\nfor your data: small, on two cores or an integrated GPU, medium, ResNet-50 for hours of a desktop's GPU, or full, the published recipe, for days of a large one (default: for your data what suits it, the adapter and --time)",
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
