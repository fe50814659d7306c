// A trained network from a checkpoint, with what is needed to use it.

import type { Gpu } from "../kernels/runtime/mod.ts";
import { DeepLab } from "../nn/deeplab.ts";
import { Checkpoint } from "./checkpoint.ts";
import { CLASSES } from "./classes.ts";
import { mergeConfig, presetConfig, type RunConfig } from "./config.ts";
import { type ClassSet, classSet } from "./data.ts";
import { DataError } from "./data_error.ts";

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

/**
 * Loads the network of a checkpoint that a training has written.
 *
 * @throws {DataError} If the file cannot be read, is damaged or is no such checkpoint.
 */
export function loadTrainedNetwork(gpu: Gpu, path: string): TrainedNetwork {
  using checkpoint = new Checkpoint(path);
  const { config, classes, stage, step } = readState(checkpoint);
  const network = new DeepLab(gpu, {
    ...config.network,
    classes: classes.names.length,
    init: "none",
  });
  try {
    checkpoint.restore(network.stateDict(), "network.");
  } catch (error) {
    network.dispose();
    throw error;
  }
  network.eval();
  return { network, classes, config, stage, step, [Symbol.dispose]: () => network.dispose() };
}

function readState(
  { path, state }: Checkpoint,
): Omit<TrainedNetwork, "network" | keyof Disposable> {
  const { config, classes, stage, step } = (state ?? {}) as Record<string, unknown>;
  const names = Array.isArray(classes) ? classes : [];
  const trainIds = names.map((name) => CLASSES.findIndex((known) => known.name === name));
  const strange = trainIds.indexOf(-1);
  if (names.length === 0 || strange >= 0) {
    const found = strange >= 0 ? `the class ${JSON.stringify(names[strange])}` : "no classes";
    throw new DataError(
      `Cannot use checkpoint ${path} as it names ${found}: expected some of the ` +
        `${CLASSES.length} classes of Cityscapes; give a checkpoint that a training has written`,
    );
  }
  return {
    config: mergeConfig(presetConfig("default"), {
      values: config,
      from: `the configuration in checkpoint ${path}`,
    }),
    classes: classSet(trainIds),
    stage: String(stage),
    step: Number(step),
  };
}
