// What stages are made with, in a run and in a plan of one.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import type { RunConfig } from "../config/settings.ts";
import type { AnySettings, StageContext } from "../stages/common/kind.ts";
import type { StageName } from "../stages/kinds.ts";

/**
 * The network of a configuration.
 *
 * @param featureNorm Whether a batch norm stands between backbone and head, as in students.
 * @param init Whether its starting weights are drawn, as the configuration says, or others follow.
 */
export function createNetwork(
  { network, memory: { recompute, activations, compute }, seed }: RunConfig,
  gpu: Gpu,
  classes: number,
  { featureNorm = false, init = "drawn" }: {
    readonly featureNorm?: boolean;
    readonly init?: "drawn" | "none";
  } = {},
): DeepLab {
  const { initialisation, ...shape } = network;
  return new DeepLab(gpu, {
    ...shape,
    recompute,
    activations,
    compute,
    classes,
    featureNorm,
    seed,
    init: init === "drawn" ? initialisation : "none",
  });
}

/** What a stage is made with. */
export function stageContext(
  { config, gpu, network }: {
    readonly config: RunConfig;
    readonly gpu: Gpu;
    readonly network: DeepLab;
  },
  name: StageName,
): StageContext<AnySettings> {
  const { seed, memory: { accumulate } } = config;
  return {
    name,
    options: { ...config.stages[name], seed, accumulate },
    gpu,
    network,
    createNetwork: (options) => createNetwork(config, gpu, network.classes, options),
  };
}

/** Whether a stage with these settings trains a network with the statistics of the target alone. */
export function hasTargetStatistics(settings: object): boolean {
  return "statistics" in settings && settings.statistics === "target";
}
