// Weights in a file of any format that the project reads.

import type { DeepLab } from "../../nn/deeplab.ts";
import type { LoadReport } from "../../nn/module.ts";
import { loadPretrained, type PretrainedOptions } from "../../nn/pretrained.ts";
import { PyTorchFile } from "../../nn/formats/pytorch.ts";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import { WeightsFileError } from "../../nn/formats/weights_error.ts";
import type { WeightsFile } from "../../nn/formats/weights_file.ts";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { FileSource } from "../base/file_source.ts";
import { Checkpoint } from "./checkpoint.ts";
import { unreadable, weightsFault } from "./weights_fault.ts";

/** An open {@link WeightsFile}. */
export interface OpenWeights extends Disposable {
  /** The file. */
  readonly path: string;
  /** What it holds. */
  readonly weights: WeightsFile;
}

/**
 * Opens a safetensors file, or a PyTorch checkpoint of the zip or the older format; its first bytes
 * tell which, not its name. Of a checkpoint of a training here every byte is verified.
 *
 * @throws {DataError} If the file cannot be read, is of no such format or is not sound.
 */
export function openWeights(path: string): OpenWeights {
  const opened = openUnverified(path);
  if (!hasCheckpointMetadata(opened)) return opened;
  try {
    new Checkpoint(path)[Symbol.dispose]();
    return opened;
  } catch (error) {
    opened[Symbol.dispose]();
    throw error;
  }
}

/** Whether a file is a checkpoint of a training here, going by what it holds. */
export function isCheckpoint(path: string): boolean {
  try {
    using file = openUnverified(path);
    return hasCheckpointMetadata(file);
  } catch (error) {
    // A checkpoint that is damaged should be called one.
    if (error instanceof DataError) return path.endsWith(".safetensors");
    throw error;
  }
}

/** Any of its keys will do: one of them may be damaged. */
function hasCheckpointMetadata({ weights }: OpenWeights): boolean {
  return weights instanceof Safetensors &&
    ["checkpoint", "sha256"].some((key) => weights.metadata.has(key));
}

/** Opens weights as {@link openWeights}, where a checkpoint has been verified before. */
export function openUnverified(path: string): OpenWeights {
  let file: FileSource | undefined;
  try {
    file = new FileSource(path);
    const weights = isSafetensors(file) ? new Safetensors(file) : new PyTorchFile(file);
    const opened = file;
    return { path, weights, [Symbol.dispose]: () => opened[Symbol.dispose]() };
  } catch (error) {
    file?.[Symbol.dispose]();
    throw error instanceof WeightsFileError
      ? weightsFault(path, error)
      : unreadable(path, describeFailure(error), error);
  }
}

/**
 * Loads weights of any format into a network by name; nothing is loaded unless everything fits.
 *
 * @param options `part: "backbone"` for weights that someone pre-trained on another task.
 * @throws {DataError} If the file cannot be read, does not fit (a table of what does not), or holds
 * NaN or an infinity.
 */
export function loadWeights(
  network: DeepLab,
  path: string,
  options: Pick<PretrainedOptions, "part"> = {},
): LoadReport {
  using file = openWeights(path);
  try {
    return loadPretrained(network, file.weights, { ...options, from: `weights ${path}` });
  } catch (error) {
    throw weightsFault(path, error);
  }
}

/**
 * A network that starts from weights from elsewhere: all of them where they have a head, the
 * backbone otherwise; what they do not have stays as it was made.
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
    using file = openUnverified(path);
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
