// `train`: flags and a config file to a RunConfig, then the run.

import { dirname, join } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import type { RunConfig } from "../train/config/settings.ts";
import type { Layout } from "../train/data/layouts.ts";
import { type StageName, STAGES } from "../train/stages/kinds.ts";
import type { DeviceOptions } from "./device.ts";
import {
  KNOWN_LAYOUTS,
  parseAnother,
  parseBytes,
  parseCount,
  parseKernels,
  parseLayout,
  parseName,
  parseNames,
  parseSeed,
  parseWords,
} from "./values.ts";

/** The names of the presets. */
export const PRESETS = ["default", "quick", "full"] as const;
/** The names of the recipes. */
export const RECIPES = ["paper", "official"] as const;
const SELECTIONS = ["last", "labels", "unsupervised"] as const;
/** The flags of `train`, as commander gives them. */
export interface TrainFlags extends Omit<DeviceOptions, "autotune"> {
  autotune?: string | true | undefined;
  preset?: typeof PRESETS[number] | undefined;
  config?: string[] | undefined;
  source?: string | undefined;
  sourceLayout?: Layout | undefined;
  target?: string | undefined;
  classes?: string[] | undefined;
  targetLayout?: Layout | undefined;
  out?: string | undefined;
  recipe?: typeof RECIPES[number] | undefined;
  select?: typeof SELECTIONS[number] | undefined;
  seed?: number | undefined;
  steps?: number | undefined;
  stages?: StageName[] | undefined;
  from?: StageName | undefined;
  base?: string | undefined;
  until?: StageName | undefined;
  resume?: string | undefined;
  init?: string | undefined;
  studentInit?: string | undefined;
  recompute?: boolean | undefined;
  accumulate?: number | undefined;
  dryRun?: boolean | undefined;
  tensorboard?: boolean | undefined;
  json?: boolean | undefined;
}

/** Adds the command to the program. */
export function addTrain(program: Command, finish: (exitCode: number) => void): void {
  program.command("train")
    .summary("adapt a network from a source to a target domain")
    .description(
      "Adapt a segmentation network from a labelled source domain to an unlabelled target domain: " +
        "source-only training, adversarial warm-up, ProDA's stage 1 (denoised pseudo labels and " +
        "target structure), self-supervised pre-training, and stages 2 and 3 (distillation into " +
        "students that start from it). Without flags it runs on the built-in benchmark, streets.",
    )
    .optionsGroup("Data:")
    .option("--source <dir>", "labelled source images (default: streets)")
    .option(
      "--source-layout <layout>",
      `${KNOWN_LAYOUTS} (default: gta5)`,
      parseLayout,
    )
    .option("--target <dir>", "target images; val labels measure the result (default: streets)")
    .option(
      "--target-layout <layout>",
      `${KNOWN_LAYOUTS} (default: cityscapes)`,
      parseLayout,
    )
    .option(
      "--classes <names>",
      "classes to train: names, or 19, 16 or 13 as results on Cityscapes are published (default: those of the data)",
      parseWords,
    )
    .optionsGroup("Run:")
    .option(
      "--preset <name>",
      "default: streets, on two cores without a GPU; quick: the same path in a minute or two;\nfull: the published recipe, for a large GPU and your data",
      parseName(PRESETS),
    )
    .option(
      "--recipe <name>",
      "where paper and released code disagree, follow the paper or the official code (default: the preset's choices)",
      parseName(RECIPES),
    )
    .option(
      "--config <file>",
      "JSON or TypeScript file with any keys of the run's configuration; a later one wins, and flags win over all",
      parseAnother,
    )
    .option(
      "--stages <names>",
      `stages to run, of ${
        STAGES.join(",")
      } (default: all but selfsup and oracle; all but oracle with --preset full)`,
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
      "--select <how>",
      "network that a stage hands on: its last, or the best by val labels or unsupervised, by the information in its predictions (default: last)",
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
    .option("--out <dir>", "run folder, new or empty (default: runs/PRESET-DATE-TIME)")
    .option(
      "--dry-run",
      "train nothing; show parameters, arithmetic, peak GPU memory and time of every stage",
    )
    .optionsGroup("Device:")
    .option("--memory-budget <size>", "most GPU memory to take, such as 2GiB", parseBytes)
    .option(
      "--recompute",
      "run blocks again in the backward instead of keeping activations: the same bits, a third slower, a fraction of the memory",
    )
    .option(
      "--kernels <class>",
      "convolutions for a GPU (shared), for a software adapter (direct), or by adapter (default: auto)",
      parseKernels,
    )
    .option(
      "--accumulate <n>",
      "learn a step's batch in n parts, one after the other: the same losses and gradients, but batch norms see a part only (default: 1)",
      parseCount,
    )
    .option(
      "--autotune [file]",
      "time the ways of computing each convolution once and take the fastest: other last bits (default file: autotune.json beside the run folder)",
    )
    .option("--profile", "time every kernel and print the most expensive ones; slower")
    .optionsGroup("Output:")
    .option(
      "--tensorboard",
      "also write losses, scores and samples for TensorBoard to the run folder",
    )
    .option("--json", "print the result as JSON; progress goes to standard error")
    .addHelpText(
      "after",
      `
The run folder holds config.json, metrics.jsonl (one line a step), result.json, checkpoints/ and
samples/. Ctrl+C stops after the current step with everything saved; a second one stops at once.
SIGUSR2, which schedulers can send before they end a job, does as the first one does.

Examples:
  ./run train
  ./run train --preset quick --seed 1 --out runs/first
  ./run train --source ~/gta5 --target ~/cityscapes --preset full --memory-budget 40GiB
  ./run train --preset full --recompute --dry-run
  ./run train --stages oracle        what training on the target's own labels would reach
  ./run train --config runs/first/config.json --out runs/again
  ./run train --config experiments/gta5_to_cityscapes.json --config experiments/one_gpu.json
  ./run train --resume runs/first    after Ctrl+C, a crash or a power cut
  ./run train --until stage1 --out runs/one
  ./run train --from selfsup --base runs/one --out runs/two`,
    )
    .action(async (flags) => finish(await train(flags)));
}

/** The configuration that flags stand for: preset, then recipe, config files and flags. */
export async function resolveConfig(flags: TrainFlags, now: Date): Promise<RunConfig> {
  const { DataError } = await import("../train/base/data_error.ts");
  const { loadConfigFile, mergeConfig, presetConfig, readConfigFile, withSteps } = await import(
    "../train/config/config.ts"
  );
  const { cutPipeline, weightsInstead, withPretraining } = await import(
    "../train/config/pipeline.ts"
  );
  const { fromPretrained, recipe } = await import("../train/config/recipes.ts");
  const name = flags.preset ?? "default";
  const preset = { ...presetConfig(name), out: defaultFolder(name, now) };
  const files = await Promise.all((flags.config ?? []).map(async (path) => ({
    values: await loadConfigFile(path),
    from: `config file ${path}`,
  })));
  const base = flags.base === undefined ? [] : [configOfBase(flags.base, readConfigFile)];
  const recipes = flags.recipe === undefined
    ? []
    : [{ values: recipe(flags.recipe), from: `recipe ${flags.recipe}` }];
  const merged = mergeConfig(preset, ...base, ...recipes, ...files, {
    values: {
      seed: flags.seed,
      select: flags.select,
      out: flags.out,
      base: flags.base,
      pipeline: flags.stages,
      init: flags.init,
      stages: flags.studentInit === undefined
        ? undefined
        : fromPretrained(flags.studentInit, flags.recipe).stages,
      memory: { recompute: flags.recompute, accumulate: flags.accumulate },
      data: {
        sourceDirectory: flags.source,
        sourceLayout: flags.sourceLayout,
        targetDirectory: flags.target,
        targetLayout: flags.targetLayout,
        classes: flags.classes,
      },
    },
    from: "the flags",
  });
  if ((flags.from === undefined) !== (flags.base === undefined)) {
    throw new DataError(
      "Cannot start in the middle as --from and --base need each other: expected the stage to start " +
        "with, and the folder of the run that has done those before it; give both",
    );
  }
  const hasWeights = STAGES.some((name) => weightsInstead(name, merged) !== null);
  const whole = hasWeights || (flags.stages && flags.base === undefined)
    ? withPretraining(merged)
    : merged;
  const config = cutPipeline(whole, flags);
  if (name === "full" && config.data.sourceDirectory === null) {
    // A plan reads no images: it takes those of the paper's data sets.
    if (flags.dryRun) {
      const { sourceLayout, targetLayout } = config.data;
      Object.assign(config.data, { sourceDirectory: sourceLayout, targetDirectory: targetLayout });
      return flags.steps === undefined ? config : withSteps(config, flags.steps);
    }
    throw new DataError(
      "Cannot run preset full on the built-in benchmark as it is sized for photographs and days of " +
        "GPU time: give --source and --target, or leave --preset out",
    );
  }
  return flags.steps === undefined ? config : withSteps(config, flags.steps);
}

/** The configuration of an earlier run, but for what every run has of its own. */
function configOfBase(base: string, read: (path: string) => unknown) {
  const path = join(base, "config.json");
  return { values: { ...read(path) as object, out: undefined, pipeline: undefined }, from: path };
}

/** `runs/quick-20260131-235959`, in local time: sorts by time and is free for every run. */
function defaultFolder(preset: string, now: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const time = `${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
  return `runs/${preset}-${date}-${time}`;
}

/** The configuration of a run to go on with. */
async function resumedConfig(flags: TrainFlags, out: string): Promise<RunConfig> {
  const { DataError } = await import("../train/base/data_error.ts");
  const { mergeConfig, presetConfig, readConfigFile } = await import("../train/config/config.ts");
  const free = [
    "resume",
    "json",
    "tensorboard",
    "profile",
    "memoryBudget",
    "kernels",
    "autotune",
    "dryRun",
  ];
  const [fixed] = Object.keys(flags).filter((name) => !free.includes(name));
  if (fixed !== undefined) {
    const flag = `--${fixed.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new DataError(
      `Cannot resume ${out} with ${flag} as its config.json decides everything: expected --resume ` +
        `alone; leave ${flag} out, or start a new run`,
    );
  }
  const path = join(out, "config.json");
  const values = readConfigFile(path);
  return { ...mergeConfig(presetConfig("default"), { values, from: path }), out };
}

/** Prints what the training would take. */
async function showDryRun(flags: TrainFlags, config: RunConfig): Promise<number> {
  const { withGpu } = await import("./device.ts");
  const { dryRun, formatDryRun } = await import("./dry_run.ts");
  const device = { ...flags, autotune: undefined }; // that would time kernels which a plan does not run
  const found = await withGpu(device, (text) => console.error(text), (gpu) => dryRun(gpu, config));
  console.log(flags.json ? JSON.stringify(found, null, 2) : formatDryRun(found, config));
  return 0;
}

/** Runs the training and prints its progress and result. */
async function train(flags: TrainFlags): Promise<number> {
  const config = flags.resume === undefined
    ? await resolveConfig(flags, new Date())
    : await resumedConfig(flags, flags.resume);
  if (flags.dryRun) return await showDryRun(flags, config);
  const autotune = flags.autotune === true
    ? join(dirname(config.out), "autotune.json")
    : flags.autotune;
  const { classTable, openProgress, screen } = await import("./progress.ts");
  const { withGpu } = await import("./device.ts");
  const { StopSignals } = await import("./signals.ts");
  const { resumeTraining, runTraining } = await import("../train/run/run.ts");
  const { together } = await import("../train/run/observer.ts");
  const { TensorBoardLog } = await import("../train/run/tensorboard.ts");
  const progress = await openProgress(screen(flags.json ? "stderr" : "stdout"), config.logEvery);
  using log = flags.tensorboard ? new TensorBoardLog(config.out) : null;
  const observer = log ? together(progress, log) : progress;
  using stop = new StopSignals((text) => progress.message(text), "step");
  try {
    const result = await stop.guard(() =>
      withGpu({ ...flags, autotune }, (text) => progress.message(text), (gpu) => {
        progress.message(`${gpu.adapter.description}; run folder ${config.out}`);
        return flags.resume === undefined
          ? runTraining(config, gpu, observer, stop.signal)
          : resumeTraining(config.out, gpu, observer, stop.signal);
      })
    );
    progress.close();
    if (result !== null) {
      const table = classTable(result.stages);
      if (table !== "") progress.message(`\n${table}\n`);
      if (flags.json) console.log(JSON.stringify(result, null, 2));
    }
    if (stop.exitCode !== 0) {
      progress.message(`Stopped; ./run train --resume ${config.out} goes on`);
    }
    return stop.exitCode;
  } finally {
    progress.close();
  }
}
