// `export`: a trained network for other runtimes.

import { type Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { formatBytes } from "../kernels/runtime/mod.ts";
import { writeOnnx } from "../train/networks/export_onnx.ts";
import { networkConfigOption, ownCheckpointOption } from "./options.ts";
import { print } from "./output.ts";

/** Adds the command to the program. */
export function addExport(program: Command): void {
  program.command("export")
    .summary("write a trained network as ONNX, for other runtimes")
    .description(
      "Write a trained network as ONNX (opset 13): from image, [N, 3, H, W], RGB in 0 to 1, to logits, " +
        "[N, classes, H, W], at the size of the image. It needs no GPU.",
    )
    .addOption(ownCheckpointOption)
    .requiredOption("--onnx <file>", "ONNX file to write; replaced if it is there")
    .option("--size <HxW>", "height and width of images (default: any)", parseSize)
    .addOption(networkConfigOption)
    .addHelpText(
      "after",
      `
Examples:
  ./run export --checkpoint runs/first/checkpoints/stage1.safetensors --onnx streets.onnx
  ./run export --checkpoint gta5.pth --onnx gta5.onnx --size 1024x2048`,
    )
    .action(({ checkpoint, onnx, size, config }) => {
      const { bytes, classes } = writeOnnx(checkpoint, onnx, { size, configPath: config });
      const images = size ? `${size.height}×${size.width}` : "any size";
      print(`${onnx} takes images of ${images} to ${classes} classes, ${formatBytes(bytes)}`);
    });
}

/** `512x1024`: height, then width, as tensors have them. */
function parseSize(text: string): { height: number; width: number } {
  const [, height, width] = /^([1-9]\d{0,4})[x×]([1-9]\d{0,4})$/.exec(text) ?? [];
  if (height === undefined) {
    throw new InvalidArgumentError("expected height and width in pixels, such as 512x1024");
  }
  return { height: Number(height), width: Number(width) };
}
