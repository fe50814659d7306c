// `shrink`: the networks of a run in small files, with what they reach.

import { join } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { formatBytes } from "../kernels/runtime/mod.ts";
import { shrinkRun } from "../train/run/shrink_run.ts";
import { STAGES } from "../train/stages/kinds.ts";
import { type DeviceOptions, withGpu } from "./device.ts";
import { kernelsOption, memoryBudgetOption } from "./options.ts";
import { print, printError } from "./output.ts";
import { StopSignals } from "./signals.ts";
import { parseNames } from "./values.ts";

/** Adds the command to the program. */
export function addShrink(program: Command, finish: (exitCode: number) => void): void {
  program.command("shrink")
    .summary("write the networks of a finished run in small files, to hand on")
    .description(
      "Write the networks of a finished run in small files, to hand on: a quarter of a checkpoint's " +
        "bytes or less, weights of 16 bits. Each is measured as it was written; scores, SHA-256, the " +
        "run's configuration and its log stand beside them. predict, eval, export and train --init take " +
        "them as they take checkpoints.",
    )
    .argument("<run>", "run folder")
    .requiredOption("--out <dir>", "folder for the files; those of the same names are replaced")
    .option("--stages <names>", "stages to write (default: all of the run)", parseNames(STAGES))
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .addOption(kernelsOption)
    .addHelpText(
      "after",
      `
Example, which makes what comes with the project:
  ./run train --out runs/streets
  ./run shrink runs/streets --out networks/streets --stages source,warmup,stage1,stage3`,
    )
    .action(async (run, { out, stages, ...device }: ShrinkFlags) => {
      using stop = new StopSignals(printError, "image");
      const chosen = stages ? ` --stages ${stages.join()}` : "";
      const manifest = await stop.guard(() =>
        withGpu(device, printError, (gpu) =>
          shrinkRun(gpu, {
            run,
            output: out,
            stages,
            command: `./run train --config ${join(out, "config.json")} --out RUN && ` +
              `./run shrink RUN --out ${out}${chosen}`,
            message: printError,
            signal: stop.signal,
          }))
      );
      if (manifest) {
        const bytes = manifest.networks.reduce((sum, { bytes }) => sum + bytes, 0);
        print(`${out} holds ${manifest.networks.length} networks, ${formatBytes(bytes)}`);
      }
      finish(stop.exitCode);
    });
}

interface ShrinkFlags extends DeviceOptions {
  out: string;
  stages?: string[] | undefined;
}
