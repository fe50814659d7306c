// `generate`: writes the built-in benchmark.

import type { Command } from "@commander-js/extra-typings";
import { writeStreets } from "../train/streets/mod.ts";
import { print, printError, writeTo } from "./output.ts";
import { StopSignals } from "./signals.ts";
import { parseImages, parseSeed, parseSide } from "./values.ts";

/** Adds the command to the program. */
export function addGenerate(program: Command, finish: (exitCode: number) => void): void {
  program.command("generate")
    .summary("write the built-in benchmark, streets")
    .description(
      "Write the built-in benchmark, streets, as PNG files: a rendered source domain in the layout " +
        "of GTA5, and a camera target domain in the layout of Cityscapes.",
    )
    .option("--out <dir>", "folder to write; reused if it holds the same images", "data/streets")
    .option("--seed <n>", "seed of the images", parseSeed, 0)
    .optionsGroup("Size:")
    .option("--width <pixels>", "width of an image", parseSide, 256)
    .option("--height <pixels>", "height of an image", parseSide, 128)
    .option("--source-images <n>", "labelled source images", parseImages, 400)
    .option("--target-images <n>", "target images to adapt to", parseImages, 400)
    .option("--val-images <n>", "target images to measure on", parseImages, 100)
    .option("--choose-images <n>", "target images to choose settings on", parseImages, 100)
    .option("--source-val-images <n>", "source images that no training sees", parseImages, 50)
    .addHelpText(
      "after",
      `
Examples:
  ./run generate
  ./run generate --out data/more-streets --seed 1 --val-images 500
  ./run train --source data/streets/source --target data/streets/target`,
    )
    .action(async ({ out, seed, width, height, ...images }) => {
      const live = Deno.stderr.isTerminal();
      using stop = new StopSignals(printError, "image");
      const done = await stop.guard(async () => {
        await writeStreets(out, {
          seed,
          width,
          height,
          counts: {
            sourceTrain: images.sourceImages,
            sourceVal: images.sourceValImages,
            targetTrain: images.targetImages,
            targetVal: images.valImages,
            targetChoose: images.chooseImages,
          },
          signal: stop.signal,
          onProgress(done, total) {
            if (!live) return;
            const end = done === total ? "\r\x1b[K" : "";
            writeTo("stderr", `\rDrawing ${done}/${total}${end}`);
          },
        });
        return true;
      });
      if (done === null) return finish(stop.exitCode);
      print(
        `${out} holds ${images.sourceImages} source images, ${images.targetImages} target images and ` +
          `${images.valImages} to measure on, ${width}×${height} pixels, seed ${seed}`,
      );
    });
}
