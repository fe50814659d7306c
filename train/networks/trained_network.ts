// A trained network, from a checkpoint or from elsewhere, with what is needed to use it.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import { stateOf } from "../../nn/formats/weights.ts";
import { Checkpoint } from "./checkpoint.ts";
import type { ClassSet } from "../data/class_set.ts";
import { mergeConfig, presetConfig } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError } from "../base/data_error.ts";
import { type NetworkFile, openForeignNetwork } from "./foreign_network.ts";
import { classesFrom, type SavedClasses } from "./saved_classes.ts";
import { isCheckpoint, openUnverified, weightsFault } from "./weights_file.ts";

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
  const file = openUnverified(path);
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
 * @throws {DataError} If the file cannot be read, is damaged or holds no such network, or a weight is
 * NaN or infinite.
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

function readState(
  { path, state }: Checkpoint,
): Omit<TrainedNetwork, "network" | keyof Disposable> {
  const { config, classes, ownClasses, stage, step } = (state ?? {}) as Record<string, unknown>;
  return {
    config: mergeConfig(presetConfig("default"), {
      values: config,
      from: `the configuration in checkpoint ${path}`,
    }),
    classes: classesFrom(
      `checkpoint ${path}`,
      Array.isArray(classes) ? classes : [],
      (ownClasses ?? null) as SavedClasses | null,
    ),
    stage: String(stage),
    step: Number(step),
  };
}
