// `report`: the page of a run.

import { join } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { withGpu } from "./device.ts";
import { memoryBudgetOption } from "./options.ts";
import { print } from "./output.ts";

/** Adds the command to the program. */
export function addReport(program: Command): void {
  program.command("report")
    .summary("write the page of a run")
    .description(
      "Write one HTML file about a run that opens offline: what it has gained and hands on, what went " +
        "wrong, the same images before and after, scores by class, curves, confusions, features of the " +
        "target with prototypes, the images that went worst, times and settings.",
    )
    .argument("<run>", "run folder")
    .option(
      "--compare <dir>",
      "another run folder, whose curves are drawn beside its own; may be repeated",
      (dir: string, dirs: string[]) => [...dirs, dir],
      [] as string[],
    )
    .option("--out <file>", "the file to write (default: report.html in the run folder)")
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .addHelpText(
      "after",
      `
Examples:
  ./run report runs/first
  ./run report runs/denoise --compare runs/selftraining --out compared.html`,
    )
    .action(async (run, { out, compare, memoryBudget }) => {
      // Its packages for charts take longer to load than all the rest; no other command needs them.
      const { writeReport } = await import("../train/report/report.ts");
      const output = out ?? join(run, "report.html");
      await withGpu(
        { memoryBudget },
        print,
        (gpu) => writeReport(gpu, { run, compare, output, onMessage: print }),
      );
      print(output);
    });
}
