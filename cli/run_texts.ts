// What `train` says of a run before its first step, and what to do with it after its last.

import type { RunConfig } from "../train/config/settings.ts";
import { tableLines } from "../train/base/text.ts";
import type { RunResult } from "../train/run/observer.ts";
import { checkpointPathIn } from "../train/run/run_folder.ts";
import { kindOf } from "../train/stages/kinds.ts";
import type { TrainFlags } from "./train_config.ts";

/** What a run will do: a line for each stage; of the quick preset first what it is for. */
export function describeRun(
  { pipeline, stages, data }: RunConfig,
  { preset }: Pick<TrainFlags, "preset">,
): string {
  const rows = pipeline.map((name) => [name, String(stages[name].steps)]);
  const [head, rule, ...lines] = tableLines([["stage", "steps"], ...rows]);
  const described = lines.map((line, index) => `${line}  ${kindOf(pipeline[index]).summary}`);
  const quick = data.sourceDirectory === null ? QUICK_ON_STREETS : QUICK_ON_OWN_IMAGES;
  return [...preset === "quick" ? [quick] : [], head, rule, ...described].join("\n");
}

const QUICK_ON_STREETS =
  `preset quick: the method in brief, on a quarter of the images of streets, the built-in benchmark;
./run train without --preset goes through all stages at length and reaches more`;
const QUICK_ON_OWN_IMAGES =
  `preset quick: a trial of a few steps, sized for the built-in benchmark; without --preset, network,
sizes and steps are chosen for your images`;

/** The commands that a finished run is for. */
export function nextCommands({ stages }: RunResult, folder: string): string {
  const last = stages.findLast(({ handedOn }) => handedOn) ?? stages.at(-1);
  const report = `Next: ./run report ${folder}   one page: scores, curves, pictures`;
  if (!last) return report;
  const { name, steps, selected } = last;
  const file = selected && selected.step < steps ? `${name}.best` : name;
  return [
    report,
    `      ./run predict --checkpoint ${checkpointPathIn(folder, file)} \\`,
    "        --input IMAGES --output PICTURES",
  ].join("\n");
}
