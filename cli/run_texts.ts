// What `train` says of a run before its first step, and what to do with it after its last.

import type { RunConfig } from "../train/config/settings.ts";
import { tableLines } from "../train/base/text.ts";
import type { RunResult } from "../train/run/observer.ts";
import { checkpointPathIn } from "../train/run/run_folder.ts";
import { kindOf } from "../train/stages/kinds.ts";
import type { TrainFlags } from "./train_config.ts";

/** What a run will do: a line for each stage; of the quick preset first what it is for. */
export function describeRun(
  { pipeline, stages, init, data }: RunConfig,
  { preset }: Pick<TrainFlags, "preset">,
): string {
  const rows = pipeline.map((name) => [name, String(stages[name].steps), kindOf(name).summary]);
  return [...preset === "quick" ? [describeQuick(init, data)] : [], ...stageLines(rows)].join("\n");
}

/** Names to the left, steps to the right, what a stage is behind them. */
function stageLines(rows: readonly string[][]): string[] {
  const [head, rule, ...lines] = tableLines([
    ["stage", "steps"],
    ...rows.map((row) => row.slice(0, 2)),
  ]);
  const width = Math.max(...rows.map(([, , summary]) => summary.length));
  return [
    head,
    `${rule}  ${"─".repeat(width)}`,
    ...lines.map((line, k) => `${line}  ${rows[k][2]}`),
  ];
}

function describeQuick(init: string | null, { sourceDirectory }: RunConfig["data"]): string {
  if (sourceDirectory !== null) {
    return "preset quick: a trial of a few steps, sized for the built-in benchmark; leave --preset out to " +
      "have sizes\nchosen for your images";
  }
  const start = init === null ? "" : " from a network that has learnt the source alone,";
  return `preset quick: the method in short,${start} on a quarter of the images of the built-in\n` +
    "benchmark; ./run train without --preset goes all the way and reaches more";
}

/** The commands that a finished run is for. */
export function nextCommands({ stages }: RunResult, folder: string): string {
  const last = stages.findLast(({ handedOn }) => handedOn) ?? stages.at(-1);
  const commands = [[`./run report ${folder}`, "one page: scores, curves, pictures"]];
  const lines = commands.map(([command, what]) => `Next: ${command}   ${what}`);
  if (!last) return lines.join("\n");
  const checkpoint = checkpointPathIn(folder, last.name);
  return [
    ...lines,
    `      ./run predict --checkpoint ${checkpoint} \\`,
    `        --input IMAGES --output PICTURES`,
  ].join("\n");
}
