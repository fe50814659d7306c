// A trained network, from a checkpoint or from elsewhere, with what is needed to use it.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import { stateOf } from "../../nn/formats/weights.ts";
import { Checkpoint } from "./checkpoint.ts";
import { cityscapesClasses, type ClassSet } from "../data/class_set.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";
import { CLASSES } from "../data/classes.ts";
import { mergeConfig, presetConfig } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError } from "../base/data_error.ts";
import { type NetworkFile, openForeignNetwork } from "./foreign_network.ts";
import { openWeights, weightsFault } from "./weights_file.ts";

/** A network in evaluation mode and the run that it comes from. */
export interface TrainedNetwork extends Disposable {
  /** The network. */
  readonly network: DeepLab;
  /** What it predicts. */
  readonly classes: ClassSet;
  /** The configuration of its run. */
  readonly config: RunConfig;
  /** The stage that saved it. */
  readonly stage: string;
  /** Optimiser updates of that stage. */
  readonly step: number;
}

/** An array that checkpoints of networks with a feature norm hold, and no others. */
export const FEATURE_NORM = "network.bn_pretrain.weight";

/** Whether a file is a checkpoint of a training here, going by what it holds. */
export function isCheckpoint(path: string): boolean {
  try {
    using file = openWeights(path);
    return file.weights instanceof Safetensors && file.weights.metadata.has("checkpoint");
  } catch (error) {
    // A checkpoint that is damaged should be called one.
    if (error instanceof DataError) return path.endsWith(".safetensors");
    throw error;
  }
}

/**
 * Opens the network of a checkpoint, or of weights from elsewhere, without a GPU.
 *
 * @param configPath A configuration file for weights from elsewhere; see
 *   {@link openForeignNetwork}.
 * @throws {DataError} If the file cannot be read, is damaged or holds no such network.
 */
export function openNetwork(path: string, configPath?: string): NetworkFile {
  if (!isCheckpoint(path)) return openForeignNetwork(path, configPath);
  if (configPath !== undefined) {
    throw new DataError(
      `Cannot use checkpoint ${path} with a configuration file as it holds the configuration of its ` +
        `run: expected weights from elsewhere; leave the configuration file out`,
      { options: ["configPath"] },
    );
  }
  using checkpoint = new Checkpoint(path); // verifies every byte
  const described = readState(checkpoint);
  const { config, classes } = described;
  const featureNorm = checkpoint.has(FEATURE_NORM);
  const file = openWeights(path);
  return {
    ...described,
    network: { ...config.network, classes: classes.names.length, featureNorm },
    state: stateOf(file.weights, "network."),
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

/**
 * Loads the network of a checkpoint that a training has written, or of weights from elsewhere.
 *
 * @param configPath A configuration file for weights from elsewhere; see
 *   {@link openForeignNetwork}.
 * @throws {DataError} If the file cannot be read, is damaged or holds no such network.
 */
export function loadTrainedNetwork(gpu: Gpu, path: string, configPath?: string): TrainedNetwork {
  using file = openNetwork(path, configPath);
  const { classes, config, stage, step } = file;
  const network = new DeepLab(gpu, { ...file.network, init: "none" });
  try {
    network.loadStateDict(file.state, { from: path });
  } catch (error) {
    network.dispose();
    throw weightsFault(path, error, "give the checkpoint or the weights of a whole network");
  }
  network.eval();
  return { network, classes, config, stage, step, [Symbol.dispose]: () => network.dispose() };
}

/**
 * The classes in a checkpoint: names, and what else those that are no classes of Cityscapes need.
 */
export type SavedClasses = Pick<ClassSet, "palette" | "labelIds" | "unlabelled">;

/** What a checkpoint says of classes beside their names. */
export function savedClasses({ palette, labelIds, unlabelled }: ClassSet): SavedClasses {
  return { palette, labelIds, unlabelled };
}

function readState(
  { path, state }: Checkpoint,
): Omit<TrainedNetwork, "network" | keyof Disposable> {
  const { config, classes, ownClasses, stage, step } = (state ?? {}) as Record<string, unknown>;
  return {
    config: mergeConfig(presetConfig("default"), {
      values: config,
      from: `the configuration in checkpoint ${path}`,
    }),
    classes: readClasses(
      path,
      Array.isArray(classes) ? classes : [],
      (ownClasses ?? null) as SavedClasses | null,
    ),
    stage: String(stage),
    step: Number(step),
  };
}

function readClasses(path: string, names: string[], own: SavedClasses | null): ClassSet {
  const strange = own ? undefined : names.find((name) => !CLASSES.some((c) => c.name === name));
  if (names.length === 0 || strange !== undefined) {
    const found = strange === undefined ? "no classes" : `the class ${JSON.stringify(strange)}`;
    throw new DataError(
      `Cannot use checkpoint ${path} as it names ${found}: expected some of the ` +
        `${CLASSES.length} classes of Cityscapes; give a checkpoint that a training has written`,
    );
  }
  if (!own) return cityscapesClasses(names);
  const trainIds: number[] = [];
  trainIds[own.unlabelled] = IGNORE;
  own.labelIds.forEach((id, index) => trainIds[id] = index);
  return { names, ...own, trainIds, isCityscapes: false };
}
