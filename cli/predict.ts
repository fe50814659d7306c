// `predict`: a folder of images to pictures of their classes.

import type { Command } from "@commander-js/extra-typings";
import { parseBytes, parseKernels } from "./values.ts";

/** Adds the command to the program. */
export function addPredict(program: Command, finish: (exitCode: number) => void): void {
  program.command("predict")
    .summary("write the predicted classes of images as pictures")
    .description(
      "Predict the classes of every pixel of PNG and JPEG images of any size. For each image the output " +
        "folder gets label/NAME.png (label ids of the data), colour/NAME.png and overlay/NAME.png.",
    )
    .requiredOption("--checkpoint <file>", "checkpoint of a training, or weights from elsewhere")
    .option(
      "--config <file>",
      "for weights from elsewhere: what they do not tell, as train takes it",
    )
    .requiredOption("--input <path>", "PNG or JPEG file, or folder that is searched for them")
    .requiredOption(
      "--output <dir>",
      "folder for the pictures; files of the same name are replaced",
    )
    .optionsGroup("Device:")
    .option("--memory-budget <size>", "most GPU memory to take, such as 2GiB", parseBytes)
    .option(
      "--kernels <class>",
      "convolutions for a GPU (shared), for a software adapter (direct), or by adapter (default: auto)",
      parseKernels,
    )
    .option("--profile", "time every kernel and print the most expensive ones; slower")
    .addHelpText(
      "after",
      `
Example:
  ./run predict --checkpoint runs/first/checkpoints/stage1.safetensors \\
    --input data/streets/target/leftImg8bit/val --output predictions`,
    )
    .action(async (flags) => {
      const { StopSignals } = await import("./signals.ts");
      const { withGpu } = await import("./device.ts");
      const { loadTrainedNetwork } = await import("../train/networks/trained_network.ts");
      const { predictFolder } = await import("../train/networks/predict.ts");
      using stop = new StopSignals((text) => console.error(text), "image");
      const done = await withGpu(flags, (text) => console.error(text), async (gpu) => {
        using trained = loadTrainedNetwork(gpu, flags.checkpoint, flags.config);
        return await predictFolder(trained, {
          ...flags,
          signal: stop.signal,
          onImage: (done, total, name) => console.log(`${done}/${total} ${name}`),
        });
      });
      console.log(`${flags.output} holds labels, colours and overlays of ${done} images`);
      finish(stop.exitCode);
    });
}
