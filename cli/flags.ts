// Flags and the options that they set: the rooms below speak of options, people at a terminal of flags.

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

/** The keys of a run's configuration that flags set, by the name that commander gives the flag. */
export const CONFIG_KEYS = {
  seed: "seed",
  select: "select",
  out: "out",
  base: "base",
  stages: "pipeline",
  init: "init",
  studentInit: "stages.selfsup.weights",
  recompute: "memory.recompute",
  accumulate: "memory.accumulate",
  source: "data.sourceDirectory",
  sourceLayout: "data.sourceLayout",
  target: "data.targetDirectory",
  targetLayout: "data.targetLayout",
  classes: "data.classes",
} as const;

/** What flags set that are not called as their option is. */
const OPTION_NAMES: Readonly<Record<string, string>> = { ...CONFIG_KEYS, config: "configPath" };

/** The flags of a command that set any of the options. */
export function flagsFor(
  options: readonly string[],
  { options: flags }: CommandUnknownOpts,
): string[] {
  return flags.filter((flag) => {
    const name = flag.attributeName();
    return options.includes(OPTION_NAMES[name] ?? name);
  }).map(({ long, flags }) => long ?? flags);
}
