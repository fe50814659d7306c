// `ablate`: the paper's comparisons, each a table over several seeds.

import type { Command } from "@commander-js/extra-typings";
import { runAblation, tablePaths } from "../train/ablation/ablation.ts";
import { GRIDS } from "../train/ablation/grids.ts";
import { formatTable } from "../train/ablation/table.ts";
import { withGpu } from "./device.ts";
import { kernelsOption, memoryBudgetOption, splitOption } from "./options.ts";
import { print } from "./output.ts";
import { openProgress, screen } from "./progress.ts";
import { StopSignals } from "./signals.ts";
import { resolveConfig, type TrainFlags } from "./train_config.ts";
import {
  parseAnother,
  parseCount,
  parseName,
  parsePreset,
  parseRecipe,
  parseSeeds,
} from "./values.ts";

/** The flags of `ablate`, as commander gives them. */
interface AblateFlags extends
  Pick<
    TrainFlags,
    "preset" | "recipe" | "config" | "steps" | "split" | "memoryBudget" | "kernels" | "json"
  > {
  grid: string;
  seeds?: number[] | undefined;
  out?: string | undefined;
}

/** Adds the command to the program. */
export function addAblate(program: Command, finish: (exitCode: number) => void): void {
  program.command("ablate")
    .summary("compare the parts of the method over several seeds")
    .description(
      "Train the rows of a table of the paper, for every seed from one common start, and write mean " +
        "and deviation beside the published numbers. The same command again goes on where it was " +
        "stopped, and trains only what other grids in the same folder have not trained yet.",
    )
    .option(
      "--grid <name>",
      "what is compared:\nstages: the rows of table3 that are stages, and the oracles\nlabels: how stage 1 makes its labels\ndecay: of the prototypes\ntemperature: of the assignments to them\nviews: on which labels are learnt\nsuccessors: what the field has added since\nstudents: what stages 2 and 3 start from\ntable3: the parts of the method",
      parseName(GRIDS.map(({ name }) => name)),
      "table3",
    )
    .option("--seeds <numbers>", "seeds, separated by commas (default: 0,1,2)", parseSeeds)
    .optionsGroup("Every run:")
    .option(
      "--preset <name>",
      "default: about four minutes per row and seed on two cores\nquick: a minute\nfull: the published recipe",
      parsePreset,
    )
    .option("--recipe <name>", "where paper and released code disagree", parseRecipe)
    .option(
      "--config <file>",
      "JSON or TypeScript file with any keys of a run's configuration, such as your data",
      parseAnother,
    )
    .option("--steps <n>", "optimiser steps of every stage", parseCount)
    .addOption(splitOption)
    .option("--out <dir>", "folder of runs and tables (default: runs/ablation-PRESET)")
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .addOption(kernelsOption)
    .optionsGroup("Output:")
    .option("--json", "print the table as JSON; progress goes to standard error")
    .addHelpText(
      "after",
      `
The folder holds seed-N/NAME, a run folder each (./run report reads them), and GRID/table.md and
table.json, which are written anew after every run. While stage 1 runs, its labels are measured
against the target's own, which no training reads: metrics.jsonl has the scores, samples/stage1/ the
pictures. Ctrl+C stops after the current step with everything saved.

Examples:
  ./run ablate --preset quick --seeds 0
  ./run ablate --grid table3 --out runs/ablation
  ./run ablate --grid labels --out runs/ablation    shares the start and stage 1 with it`,
    )
    .action(async (flags) => finish(await ablate(flags)));
}

async function ablate(
  { grid: name, seeds = [0, 1, 2], out, json, ...flags }: AblateFlags,
): Promise<number> {
  const grid = GRIDS.find((grid) => grid.name === name) as typeof GRIDS[number];
  const folder = out ?? `runs/ablation-${flags.preset ?? "default"}`;
  const base = await resolveConfig({ ...flags, out: folder }, new Date());
  const progress = await openProgress(screen(json ? "stderr" : "stdout"), base.logEvery);
  using stop = new StopSignals((text) => progress.message(text), "step");
  try {
    const options = { grid, seeds, base, out: folder };
    const table = await withGpu(flags, (text) => progress.message(text), (gpu) => {
      progress.message(`${gpu.adapter.description}; runs in ${folder}`);
      return runAblation(options, gpu, progress, stop.signal);
    });
    progress.close();
    progress.message(`\n${formatTable(table)}\n${tablePaths(options).markdown}`);
    if (json) print(JSON.stringify(table, null, 2));
    if (stop.exitCode !== 0) stop.message("Stopped; the same command goes on");
    return stop.exitCode;
  } finally {
    progress.close();
  }
}
