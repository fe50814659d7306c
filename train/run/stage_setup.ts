// Makes the networks and stages of a configuration, for runs and for plans of them.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import { Discriminator } from "../../nn/discriminator.ts";
import type { RunConfig, StageConfig } from "../config/config.ts";
import type { PrototypeBank } from "../stages/denoise/prototypes.ts";
import { Denoise } from "../stages/denoise/denoise.ts";
import type { OptimiserOptions } from "../stages/common/stage.ts";
import { WarmUp } from "../stages/warm_up/warm_up.ts";

/**
 * The network of a configuration.
 *
 * @param featureNorm Whether a batch norm stands between backbone and head, as in students.
 * @param init Its starting weights, or none where others follow.
 */
export function createNetwork(
  { network, memory: { recompute, activations }, seed }: RunConfig,
  gpu: Gpu,
  classes: number,
  featureNorm = false,
  init: "he" | "none" = "he",
): DeepLab {
  return new DeepLab(gpu, { ...network, recompute, activations, classes, featureNorm, seed, init });
}

/** What making a stage takes. */
interface StageParts {
  readonly gpu: Gpu;
  readonly config: RunConfig;
  readonly network: DeepLab;
}

/** The warm-up of a network. */
export function makeWarmUp(run: StageParts): WarmUp {
  const { gpu, config: { seed, stages: { warmup } }, network } = run;
  const discriminator = new Discriminator(gpu, {
    classes: network.classes,
    planes: warmup.discriminatorPlanes,
    seed,
  });
  return new WarmUp(network, discriminator, { ...warmup, ...optimiser(run, warmup) });
}

/** Stage 1, its momentum encoder a copy of the network; the prototypes pass to it. */
export function makeDenoise(run: StageParts, bank: PrototypeBank): Denoise {
  const { gpu, config, network } = run;
  const encoder = createNetwork(config, gpu, network.classes, false, "none");
  encoder.loadStateDict(network.stateDict());
  const { stage1 } = config.stages;
  return new Denoise(network, encoder, bank, { ...stage1, ...optimiser(run, stage1) });
}

/** How a stage optimises its network. */
export function optimiser(
  { config }: Pick<StageParts, "config">,
  stage: StageConfig,
): OptimiserOptions {
  return { ...stage, seed: config.seed, accumulate: config.memory.accumulate };
}
