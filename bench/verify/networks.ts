// The networks whose steps are measured, as configurations; `valibot`, which checks configurations
// that people write, is not needed for these.

import { PRESETS } from "../../train/config/presets.ts";
import type { RunConfig } from "../../train/config/settings.ts";

/** Names of the networks. */
export const NETWORKS = ["streets", "R50", "R101"] as const;
/** The name of one. */
export type NetworkName = typeof NETWORKS[number];

/** The built-in benchmark's network; ResNet-50 and ResNet-101 as published, at 896×512. */
export function configOf(name: NetworkName): RunConfig {
  if (name === "streets") return PRESETS.default;
  const { full } = PRESETS;
  const blocks = name === "R50" ? [3, 4, 6, 3] : full.network.blocks;
  return { ...full, network: { ...full.network, blocks } };
}

/** How many classes it tells apart. */
export function classesOf(name: NetworkName): number {
  return name === "streets" ? 8 : 19;
}
