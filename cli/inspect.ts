// `inspect`: checks a data set before a run depends on it.

import type { Command } from "@commander-js/extra-typings";
import type { InspectionReport, SplitReport } from "../train/inspect/inspect.ts";
import { tableLines } from "../train/base/text.ts";
import { layoutOf, LAYOUTS } from "../train/data/layouts.ts";
import { print, printError, writeTo } from "./output.ts";
import { KNOWN_LAYOUTS, parseCount, parseLayout } from "./values.ts";

/** Problems and sizes that are printed; `--json` has all. */
const [SHOWN_PROBLEMS, SHOWN_SIZES] = [30, 5];

/** Adds the command to the program. */
export function addInspect(program: Command, finish: (exitCode: number) => void): void {
  program.command("inspect")
    .summary("check a data set before a run")
    .description(
      "Open every image and label of a data set, count sizes and classes, list everything that is " +
        "wrong with it at once, and draw a contact sheet of images under their labels. " +
        "Exits with 1 if something is wrong.",
    )
    .requiredOption("--data <dir>", "folder of the data set")
    .requiredOption("--layout <layout>", KNOWN_LAYOUTS, parseLayout)
    .option("--split <name>", "look at this split only, such as val (default: all there are)")
    .option("--limit <n>", "open this many images of a split, spread over it", parseCount)
    .option("--sheet <file>", "the contact sheet, a PNG file", "inspection.png")
    .option("--json", "print the findings as JSON, every problem included")
    .addHelpText(
      "after",
      ({ command }) => `
The layouts:
${describeLayouts(command)}

classes.json, where a layout asks for it:
  { "classes": [{ "name": "road", "colour": [128, 64, 128], "ids": [1] },
                { "name": "car", "colour": [0, 0, 142], "ids": [2, 3] }],
    "ignore": { "ids": [0], "colours": [[0, 0, 0]] } }

Examples:
  ./run inspect --data ~/cityscapes --layout cityscapes --limit 200
  ./run inspect --data data/streets/target --layout cityscapes --sheet target.png`,
    )
    .action(async ({ data, layout, split, limit, sheet, json }) => {
      const { inspectDataset } = await import("../train/inspect/inspect.ts");
      const { inspectionSheet } = await import("../train/inspect/inspect_sheet.ts");
      const { checkWritable, writeFileAtomic } = await import("../train/base/atomic_file.ts");
      const { StopSignals } = await import("./signals.ts");
      checkWritable(sheet);
      const live = Deno.stderr.isTerminal();
      using stop = new StopSignals(printError, "image");
      const report = await stop.guard(() =>
        inspectDataset({
          ...{ root: data, layout: layoutOf(layout), split, limit, signal: stop.signal },
          onImage(done, total) {
            if (!live) return;
            const end = done === total ? "\r\x1b[K" : "";
            writeTo("stderr", `\rOpening ${done}/${total}${end}`);
          },
        })
      );
      if (report === null) return finish(stop.exitCode);
      const picture = await inspectionSheet(report);
      if (picture) writeFileAtomic(sheet, [picture]);
      if (json) {
        print(JSON.stringify(jsonOf(report, picture ? sheet : null), null, 2));
      } else {
        print(formatInspection(report));
        if (picture) print(`\n${sheet} shows some of the images under their labels`);
      }
      finish(report.problems.length > 0 ? 1 : 0);
    });
}

/** A line or two about each layout, as the options are listed. */
function describeLayouts(command: Command): string {
  const help = command.createHelp();
  help.helpWidth = command.configureOutput().getOutHelpWidth?.() ?? 80;
  const width = Math.max(...LAYOUTS.map(({ name }) => name.length));
  return LAYOUTS.map((layout) => help.formatItem(layout.name, width, layout.help, help)).join("\n");
}

function jsonOf({ classes, splits, problems, notes }: InspectionReport, sheet: string | null) {
  return {
    classes: classes?.names ?? null,
    splits: splits.map(({ items, code: _, ...split }) => ({ ...split, opened: items.length })),
    problems,
    notes,
    sheet,
  };
}

/** The report for people. */
export function formatInspection(
  { classes, splits, problems, notes }: InspectionReport,
): string {
  const parts = splits.map((split) => formatSplit(split, classes?.names ?? []));
  if (notes.length > 0) parts.push(notes.map((note) => `Note: ${note}`).join("\n"));
  if (problems.length === 0) {
    parts.push("No problem was found");
  } else {
    const shown = problems.slice(0, SHOWN_PROBLEMS);
    const rest = problems.length - shown.length;
    const count = `${problems.length} ${problems.length === 1 ? "problem was" : "problems were"}`;
    parts.push([
      `${count} found:`,
      ...shown.map((problem) => `- ${problem}`),
      ...(rest > 0 ? [`and ${rest} more, which --json lists`] : []),
    ].join("\n"));
  }
  return parts.join("\n\n");
}

function formatSplit(
  {
    split,
    images,
    labelled,
    items,
    sizes,
    longSide,
    classPixels,
    classLabels,
    partSizes,
    ignoredPixels,
  }: SplitReport,
  names: readonly string[],
): string {
  const found = Object.entries(sizes);
  const rest = found.length > SHOWN_SIZES ? [`${found.length - SHOWN_SIZES} other sizes`] : [];
  const shown = found.slice(0, SHOWN_SIZES).map(([size, count]) => `${count} of ${size}`);
  const size = found.length === 1 ? ` of ${found[0][0]}` : "";
  const opened = items.length < images ? `, ${items.length} of them opened` : "";
  const labels = labelled === 0 ? "none" : labelled === images ? "all" : String(labelled);
  const lines = [
    `${split === "" ? "" : `${split}: `}${images} images${size}, ${labels} with labels${opened}`,
    ...found.length === 1 ? [] : [`sizes: ${[...shown, ...rest].join(", ") || "none"}`],
  ];
  const total = classPixels.reduce((sum, pixels) => sum + pixels, ignoredPixels);
  if (total === 0) return lines.join("\n");
  const share = (pixels: number) => `${(100 * pixels / total).toFixed(2)} %`;
  const partOf = (size: number | null) => size === null ? "–" : `${Math.round(size * longSide)} px`;
  const rows = names.map((name, k) => [
    name,
    share(classPixels[k]),
    String(classLabels[k]),
    partOf(partSizes[k]),
  ]).filter((_, k) => classPixels[k] > 0); // the notes name the others
  if (ignoredPixels > 0) rows.push(["ignored", share(ignoredPixels), "", ""]);
  const table = tableLines([["class", "pixels", "in labels", "typical part"], ...rows]).map((
    line,
  ) => line.trimEnd());
  return [...lines, "", ...table].join("\n");
}
