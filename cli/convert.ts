// `convert`: weights of any format to safetensors.

import type { Command } from "@commander-js/extra-typings";
import { formatBytes } from "../kernels/runtime/mod.ts";
import { DataError, oneLine } from "../train/base/data_error.ts";
import { type ConvertOptions, convertWeights, selectArrays } from "../train/networks/convert.ts";
import { openWeights } from "../train/networks/weights_file.ts";
import { print } from "./output.ts";

/** A name that is longer sticks out of the table. */
const MAX_PADDED = 100;

/** Adds the command to the program. */
export function addConvert(program: Command): void {
  program.command("convert")
    .summary("convert weights to safetensors, or list them")
    .description(
      "Convert a PyTorch checkpoint (.pth, .pt, .pkl of torch.save, without running anything in it) or a " +
        "safetensors file to safetensors, which torch loads by safetensors.torch.load_file.",
    )
    .argument("<in>", "weights, or a checkpoint that a training has written")
    .argument("[out]", "safetensors file to write; replaced if it is there")
    .option("--list", "print names, types and shapes instead")
    .optionsGroup("Names:")
    .option("--only <name>", "take what is under this name alone, under the names it has there")
    .option("--strip <prefix>", "take this from the start of the names that begin with it")
    .option("--prefix <prefix>", "put this before every name")
    .addHelpText(
      "after",
      `
Examples:
  ./run convert --list resnet101.pth
  ./run convert gta5.pkl gta5.safetensors --only ResNet101.model_state
  ./run convert runs/first/checkpoints/stage1.safetensors network.safetensors --only network`,
    )
    .action(convert);
}

function convert(
  input: string,
  output: string | undefined,
  { list, ...names }: ConvertOptions & { list?: true | undefined },
): void {
  using file = openWeights(input);
  if (list) {
    print(weightsTable(selectArrays(input, file.weights, names)));
    return;
  }
  if (output === undefined || /\.(pth|pt|pkl)$/i.test(output)) {
    throw new DataError(
      `Cannot convert ${input} as the output is ${output ?? "missing"}: expected the path of a ` +
        `safetensors file, or --list`,
    );
  }
  const { arrays, bytes } = convertWeights(file, output, names);
  print(`${output} holds ${arrays} arrays, ${formatBytes(bytes)}`);
}

/** A line of name, type and shape for each, and what they come to. */
function weightsTable(
  arrays: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>,
): string {
  const width = arrays.keys().reduce(
    (most, { length }) => Math.max(most, Math.min(length, MAX_PADDED)),
    0,
  );
  const lines = [...arrays].map(([name, { dtype, shape }]) =>
    `${oneLine(name).padEnd(width)}  ${dtype.padEnd(4)}  [${shape.join(", ")}]`
  );
  const numbers = arrays.values().reduce(
    (sum, { shape }) => sum + shape.reduce((size, length) => size * length, 1),
    0,
  );
  return [...lines, `${arrays.size} arrays, ${numbers.toLocaleString("en")} numbers`].join("\n");
}
