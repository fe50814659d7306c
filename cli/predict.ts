// `predict`: a folder of images to pictures of their classes.

import type { Command } from "@commander-js/extra-typings";
import { predictFolder } from "../train/networks/predict.ts";
import { loadTrainedNetwork } from "../train/networks/trained_network.ts";
import { withGpu } from "./device.ts";
import {
  checkpointOf,
  checkpointOption,
  kernelsOption,
  memoryBudgetOption,
  networkConfigOption,
  profileOption,
} from "./options.ts";
import { print, printError } from "./output.ts";
import { StopSignals } from "./signals.ts";

/** Adds the command to the program. */
export function addPredict(program: Command, finish: (exitCode: number) => void): void {
  program.command("predict")
    .summary("write the predicted classes of images as pictures")
    .description(
      "Predict the classes of every pixel of PNG and JPEG images of any size. For each image the output " +
        "folder gets label/NAME.png (label ids of the data), colour/NAME.png and overlay/NAME.png.",
    )
    .addOption(checkpointOption)
    .addOption(networkConfigOption)
    .requiredOption("--input <path>", "PNG or JPEG file, or folder that is searched for them")
    .requiredOption(
      "--output <dir>",
      "folder for the pictures; files of the same name are replaced",
    )
    .optionsGroup("Device:")
    .addOption(memoryBudgetOption)
    .addOption(kernelsOption)
    .addOption(profileOption)
    .addHelpText(
      "after",
      `
Examples:
  ./run predict --input data/streets/target/leftImg8bit/val --output predictions
  ./run predict --checkpoint runs/first/checkpoints/stage1.safetensors \\
    --input data/streets/target/leftImg8bit/val --output predictions`,
    )
    .action(async (flags) => {
      using stop = new StopSignals(printError, "image");
      const done = await withGpu(flags, printError, async (gpu) => {
        using trained = loadTrainedNetwork(gpu, checkpointOf(flags, printError), flags.config);
        return await predictFolder(trained, {
          ...flags,
          signal: stop.signal,
          onImage: (done, total, name) => print(`${done}/${total} ${name}`),
        });
      });
      print(`${flags.output} holds labels, colours and overlays of ${done} images`);
      finish(stop.exitCode);
    });
}
