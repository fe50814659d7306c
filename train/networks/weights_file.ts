// Weights in a file of any format that the project reads.

import type { DeepLab } from "../../nn/deeplab.ts";
import type { LoadReport } from "../../nn/module.ts";
import { loadPretrained, type PretrainedOptions } from "../../nn/pretrained.ts";
import { PyTorchFile } from "../../nn/formats/pytorch.ts";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import type { WeightsFile } from "../../nn/formats/weights_file.ts";
import { DataError, describeFailure } from "../base/data_error.ts";
import { FileSource } from "../base/file_source.ts";

/** An open {@link WeightsFile}. */
export interface OpenWeights extends Disposable {
  /** The file. */
  readonly path: string;
  /** What it holds. */
  readonly weights: WeightsFile;
}

/**
 * Opens a safetensors file, or a PyTorch checkpoint of the zip or the older format; its first bytes tell
 * which, not its name.
 *
 * @throws {DataError} If the file cannot be read, is of no such format or is not sound.
 */
export function openWeights(path: string): OpenWeights {
  let file: FileSource | undefined;
  try {
    file = new FileSource(path);
    const weights = isSafetensors(file) ? new Safetensors(file) : new PyTorchFile(file);
    const opened = file;
    return { path, weights, [Symbol.dispose]: () => opened[Symbol.dispose]() };
  } catch (error) {
    file?.[Symbol.dispose]();
    const reason = error instanceof RangeError
      ? error.message.replace(/^Cannot read the (.*?) as /, "")
      : describeFailure(error);
    throw new DataError(
      `Cannot read weights ${path} as ${reason}; give a safetensors file or what torch.save makes of a state dict`,
      { cause: error },
    );
  }
}

/**
 * Loads weights of any format into a network by name; nothing is loaded unless all names and shapes fit.
 *
 * @param options `part: "backbone"` for weights that someone pre-trained on another task.
 * @throws {DataError} If the file cannot be read, or does not fit: a table of the names that do not.
 */
export function loadWeights(
  network: DeepLab,
  path: string,
  options: Pick<PretrainedOptions, "part" | "prefix"> = {},
): LoadReport {
  using file = openWeights(path);
  try {
    return loadPretrained(network, file.weights, { ...options, from: `weights ${path}` });
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    throw new DataError(error.message, { cause: error });
  }
}

/**
 * A network that starts from weights from elsewhere: all of them where they have a head, the backbone
 * otherwise; what they do not have stays as it was made.
 *
 * @param create Makes the network; `featureNorm` says whether the weights have one.
 * @throws {DataError} As {@link loadWeights}.
 */
export function startFromWeights(
  path: string,
  create: (featureNorm: boolean) => DeepLab,
): DeepLab {
  let featureNorm: boolean;
  {
    using file = openWeights(path);
    featureNorm = file.weights.entries.keys().some((name) =>
      /(^|\.)bn_pretrain\.weight$/.test(name)
    );
  }
  const network = create(featureNorm);
  try {
    loadWeights(network, path, { part: "available" });
    return network;
  } catch (error) {
    network.dispose();
    throw error;
  }
}

/** Eight bytes of length, then the brace of the header. */
function isSafetensors(file: FileSource): boolean {
  const start = new Uint8Array(Math.min(9, file.size));
  file.read(0, start);
  return start[8] === "{".charCodeAt(0) && start[7] === 0;
}
