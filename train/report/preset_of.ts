// Which preset a run's settings come from, and which of them are others.

import { PRESETS } from "../config/presets.ts";
import type { PresetName } from "../config/presets.ts";
import type { RunConfig } from "../config/settings.ts";

/** A setting that is not the preset's. */
export interface ChangedSetting {
  /** Its key, such as `data.batch`. */
  readonly key: string;
  /** Its value in the run and in the preset, as JSON. */
  readonly value: string;
  readonly preset: string;
}

/** The nearest preset. */
export interface PresetOfRun {
  readonly name: PresetName;
  readonly changed: readonly ChangedSetting[];
}

/** Settings that name a run, its data or its start, and belong to no preset. */
const OWN =
  /^(seed|out|base|init|pipeline|data\.(source|target)(Directory|Layout)|data\.classes|.*\.directory)$/;

/** The preset that differs from a run in the fewest settings, of those that its stages and data read. */
export function presetOf(config: RunConfig): PresetOfRun {
  const all = Object.entries(PRESETS).map(([name, preset]) => ({
    name: name as PresetName,
    changed: differences(config, preset, isRead(config)),
  }));
  return all.reduce((best, other) => other.changed.length < best.changed.length ? other : best);
}

function isRead({ pipeline, data }: RunConfig): (key: string) => boolean {
  const ownData = data.sourceDirectory !== null;
  return (key) => {
    const [top, second] = key.split(".");
    if (OWN.test(key)) return false;
    if (top === "stages") return pipeline.some((name) => name === second);
    return !(ownData && key.startsWith("data.streets."));
  };
}

function differences(
  config: RunConfig,
  preset: RunConfig,
  isCompared: (key: string) => boolean,
): ChangedSetting[] {
  const others = new Map(leaves(preset));
  return leaves(config).flatMap(([key, value]) => {
    const other = others.get(key) ?? "–";
    return value === other || !isCompared(key) ? [] : [{ key, value, preset: other }];
  });
}

/** Every setting that holds no others, with its value as JSON. */
function leaves(value: unknown, path: readonly string[] = []): [string, string][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [[path.join("."), JSON.stringify(value)]];
  }
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}
