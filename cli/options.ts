// Options that several commands have, and what they are called in the rooms below.

import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import { RUN_SETTINGS } from "../train/config/settings.ts";
import { lastShippedNetwork } from "../train/networks/shipped.ts";
import { parseBytes, parseKernels, parseName } from "./values.ts";

/** The file of a network that is evaluated or predicts. */
export const checkpointOption = new Option(
  "--checkpoint <file>",
  "checkpoint of a training, or weights from elsewhere (default: the last of the networks that come with the project, which knows the built-in benchmark)",
);

/** The file of a network that is exported. */
export const ownCheckpointOption = new Option(
  "--checkpoint <file>",
  "checkpoint of a training, or weights from elsewhere",
).makeOptionMandatory();

/**
 * The checkpoint that a command is to use: the one that is given, or else what comes with the project.
 *
 * @param report Hears which one it is and what it knows, where none is given.
 */
export function checkpointOf(
  { checkpoint }: { checkpoint?: string | undefined },
  report: (text: string) => void,
): string {
  if (checkpoint !== undefined) return checkpoint;
  const { path, stage, mIoU, classIoU } = lastShippedNetwork();
  report(
    `No --checkpoint: taking ${stage} of the networks that come with the project (mIoU ${
      mIoU.toFixed(1)
    } %),\nwhich knows ${
      Object.keys(classIoU).join(", ")
    }\nas streets, the built-in benchmark, draws them; of other images it knows little`,
  );
  return path;
}

/** What goes with weights from elsewhere. */
export const networkConfigOption = new Option(
  "--config <file>",
  "for weights from elsewhere: what they do not tell, as train takes it",
);

export const memoryBudgetOption = new Option(
  "--memory-budget <size>",
  "most GPU memory to take, such as 2GiB",
).argParser(parseBytes);

/** The split that evaluations of a training measure. */
export const splitOption = new Option(
  "--split <name>",
  "target images that evaluations measure: val, or choose, to choose settings without those that are reported (default: val)",
).argParser(parseName(RUN_SETTINGS.data.evaluateOn));

export const kernelsOption = new Option(
  "--kernels <class>",
  "convolutions for a GPU (shared), for a software adapter (direct), or by adapter (default: auto)",
).argParser(parseKernels);

export const profileOption = new Option(
  "--profile",
  "time every kernel and print the most expensive ones; slower",
);

/** The keys of a run's configuration that flags set, by the name that commander gives the flag. */
export const CONFIG_KEYS = {
  seed: "seed",
  select: "select",
  out: "out",
  base: "base",
  stages: "pipeline",
  init: "init",
  recompute: "memory.recompute",
  accumulate: "memory.accumulate",
  source: "data.sourceDirectory",
  sourceLayout: "data.sourceLayout",
  split: "data.evaluateOn",
  target: "data.targetDirectory",
  targetLayout: "data.targetLayout",
  classes: "data.classes",
} as const;

/** What flags set that are not called as their option is. */
const OPTION_NAMES: Readonly<Record<string, string>> = { ...CONFIG_KEYS, config: "configPath" };

/** The flags of a command that set any of the options, which are called as the rooms below call them. */
export function flagsFor(options: readonly string[], command: CommandUnknownOpts): string[] {
  return command.options.filter((flag) => {
    const name = flag.attributeName();
    return !flag.negate && options.includes(OPTION_NAMES[name] ?? name);
  }).map(({ long, flags }) => long ?? flags);
}
