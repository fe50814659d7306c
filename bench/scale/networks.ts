// What `bench:scale` trains, and what its ranks tell of it.

import { PRESETS } from "../../train/config/presets.ts";
import type { RunConfig } from "../../train/config/settings.ts";

/** Milliseconds of a step: the last four add up to the first. */
export interface StepTimes {
  readonly step: number;
  readonly compute: number;
  readonly readBack: number;
  readonly reduce: number;
  readonly wait: number;
}

/** What a rank has measured. */
export interface RankFound {
  readonly rank: number;
  readonly size: number;
  readonly engine: string;
  readonly adapter: string;
  /** By round. */
  readonly times: readonly StepTimes[];
  /** Small sums of a step, such as those of batch norms. */
  readonly sums: number;
  /** Their bytes, all together. */
  readonly sumBytes: number;
  /** Bytes of all gradients, 32 bits each; none without other ranks. */
  readonly gradientBytes: number;
}

/** A network and its batch, which all ranks share. */
export interface Measured {
  readonly config: RunConfig;
  readonly classes: number;
}

/** A preset at a batch and a crop. */
function preset(
  name: "default" | "medium",
  data: { batch: number; cropWidth: number; cropHeight: number },
): RunConfig {
  const config = structuredClone(PRESETS[name]);
  Object.assign(config.data, data);
  return config;
}

/** Streets as it is trained; ResNet-50 with all of its gradients, on crops that two processors can compute. */
export const NETWORKS = {
  streets: {
    config: preset("default", { batch: 4, cropWidth: 192, cropHeight: 96 }),
    classes: 8,
  },
  r50: {
    config: preset("medium", { batch: 4, cropWidth: 128, cropHeight: 64 }),
    classes: 19,
  },
} satisfies Record<string, Measured>;

/** The name of a network. */
export type NetworkName = keyof typeof NETWORKS;
