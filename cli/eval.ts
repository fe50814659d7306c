// `eval`: the scores of a checkpoint.

import type { Command } from "@commander-js/extra-typings";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { DataError } from "../train/base/data_error.ts";
import { missingClassFile } from "../train/data/class_file.ts";
import { selectClasses } from "../train/data/class_set.ts";
import { openDataset, type OpenedDataset } from "../train/data/dataset.ts";
import { type Layout, layoutOf } from "../train/data/layouts.ts";
import { Loader } from "../train/data/loader.ts";
import { classesOf } from "../train/data/place.ts";
import { lookAgain } from "../train/evaluation/agreement.ts";
import { evaluationOf, measure } from "../train/evaluation/evaluate.ts";
import { labelFreeScore } from "../train/evaluation/label_free.ts";
import { byName, publishedMeans } from "../train/evaluation/metrics.ts";
import { WEIGHTS } from "../train/networks/foreign_network.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../train/networks/trained_network.ts";
import { openRunData } from "../train/run/run_data.ts";
import { type DeviceOptions, withGpu } from "./device.ts";
import {
  checkpointOf,
  checkpointOption,
  kernelsOption,
  memoryBudgetOption,
  networkConfigOption,
  profileOption,
} from "./options.ts";
import { print, printError } from "./output.ts";
import { classTable } from "./progress.ts";
import { StopSignals } from "./signals.ts";
import { KNOWN_LAYOUTS, parseLayout } from "./values.ts";

/** The flags of `eval`, as commander gives them. */
interface EvalFlags extends DeviceOptions {
  checkpoint?: string | undefined;
  config?: string | undefined;
  target?: string | undefined;
  targetLayout: Layout;
  split?: string | undefined;
  json?: boolean | undefined;
}

/** Adds the command to the program. */
export function addEval(program: Command, finish: (exitCode: number) => void): void {
  program.command("eval")
    .summary("measure a checkpoint on labelled images")
    .description(
      "Measure a checkpoint on labelled images: IoU of every class, mIoU (also of 16 and 13 of the 19 classes of Cityscapes), pixel accuracy. " +
        "Without --target these are the val images of the checkpoint's own run.",
    )
    .addOption(checkpointOption)
    .addOption(networkConfigOption)
    .optionsGroup("Data:")
    .option("--target <dir>", "folder of labelled images")
    .option("--target-layout <layout>", KNOWN_LAYOUTS, parseLayout, "cityscapes")
    .option(
      "--split <name>",
      "split to measure on, for layouts that have splits (default: val, or that of the checkpoint's own run)",
    )
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .addOption(kernelsOption)
    .addOption(profileOption)
    .optionsGroup("Output:")
    .option("--json", "print the scores as JSON")
    .addHelpText(
      "after",
      `
Examples:
  ./run eval
  ./run eval --checkpoint runs/first/checkpoints/stage1.safetensors
  ./run eval --checkpoint full.safetensors --target ~/cityscapes --json
  ./run eval --checkpoint proda_gta5.pth --target ~/cityscapes`,
    )
    .action(async (flags) => finish(await evaluate(flags)));
}

/** Measures and prints. @returns The exit code. */
async function evaluate(flags: EvalFlags): Promise<number> {
  using stop = new StopSignals(printError, "image");
  const result = await stop.guard(() =>
    withGpu(flags, printError, (gpu) => measured(gpu, flags, stop.signal))
  );
  if (result !== null && flags.json) {
    print(JSON.stringify(result, null, 2));
  } else if (result !== null) {
    const { checkpoint, target, split, images, stage } = result;
    print(`${checkpoint} on ${images} images of ${target} (${split})\n`);
    print(classTable([{ ...result, name: stage }]));
    const { information, agreement, correlation, labelFreeScore } = result;
    const percent = (value = 0) => `${value.toFixed(1)} %`;
    print(
      `\nWithout labels: score ${percent(labelFreeScore)} (agreement ${
        percent(agreement)
      }, class ` +
        `correlation ${percent(correlation)}); information ${percent(information)}`,
    );
  }
  return stop.exitCode;
}

/** What `--json` prints. */
async function measured(gpu: Gpu, flags: EvalFlags, signal: AbortSignal) {
  const checkpoint = checkpointOf(flags, printError);
  using trained = loadTrainedNetwork(gpu, checkpoint, flags.config);
  const { network, classes, config, stage, step } = trained;
  const dataset = await openDataOf(trained, flags);
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  const { longSide } = config.data;
  const measured = await measure(network, loader, longSide, signal);
  const { agreement } = await lookAgain(network, dataset, longSide, signal);
  const scores = { ...evaluationOf(measured), agreement };
  const classIoU = byName(classes.names, scores.classIoU);
  return {
    adapter: gpu.adapter.description,
    checkpoint,
    stage,
    step,
    target: dataset.root,
    split: dataset.split,
    images: dataset.items.length,
    mIoU: scores.mIoU,
    classIoU,
    pixelAccuracy: scores.pixelAccuracy,
    information: scores.information,
    agreement,
    correlation: scores.correlation,
    labelFreeScore: labelFreeScore(scores),
    means: publishedMeans(classIoU),
    confusion: measured.confusion.toRows(),
  };
}

/** The images to measure on: a data set of its own, or the val images of the network's run. */
async function openDataOf(
  { classes, config, stage }: TrainedNetwork,
  { target, targetLayout, split }: EvalFlags,
): Promise<OpenedDataset> {
  if (target !== undefined) {
    const layout = layoutOf(targetLayout);
    const own = classesOf(target, layout);
    if (!own) throw missingClassFile(target);
    const missing = classes.names.filter((name) => !own.names.includes(name));
    if (missing.length > 0) {
      throw new DataError(
        `Cannot measure on ${target} as it lacks the classes ${missing.join(", ")}: the network ` +
          `predicts ${classes.names.join(", ")}, the data set has ${
            own.names.join(", ")
          }; give a ` +
          `data set with the network's classes`,
      );
    }
    const { trainIds } = selectClasses(own, classes.names);
    return openDataset({ root: target, layout, split: split ?? "val", trainIds });
  }
  if (stage === WEIGHTS && config.data.targetDirectory === null) {
    throw new DataError(
      "Cannot evaluate weights from elsewhere as they name no images: expected a folder of labelled " +
        "images; give --target",
    );
  }
  const { validation } = await openRunData(config.data, printError);
  return split === undefined || split === validation.split
    ? validation
    : openDataset({ ...validation, split });
}
