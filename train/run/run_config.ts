// The configuration that a run has written.

import { join } from "node:path";
import { DataError } from "../base/data_error.ts";
import { exists } from "../base/folders.ts";
import { mergeConfig, presetConfig, readConfigFile } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";

/** What the configuration of every run has said since the first version. */
const ALWAYS = ["seed", "pipeline", "network", "data", "stages"] as const;

/**
 * What earlier versions did where their configuration says nothing: they trained on the whole source in its
 * own colours and in a random order, and handed on each network as it was.
 */
const EARLIER = {
  values: {
    data: { heldOut: { share: 0 }, sourceColours: "own", rareClassSampling: 0 },
    handOn: "last",
    finalStatistics: "own",
  },
  from: "an earlier version",
};

/**
 * The configuration in the `config.json` of a run folder. What an earlier version did not know is as it did
 * it, else as in the default preset.
 *
 * @throws {DataError} If the file cannot be read, or is no configuration of a run.
 */
export function readRunConfig(folder: string): RunConfig {
  const path = join(folder, "config.json");
  if (!exists(path)) {
    throw new DataError(
      `Cannot use run folder ${folder} as it has no config.json; give the folder of an earlier run`,
    );
  }
  return runConfigOf(readConfigFile(path), path);
}

/**
 * The same of what was read.
 *
 * @param from The file, for errors.
 */
export function runConfigOf(values: unknown, from: string): RunConfig {
  const config = mergeConfig(presetConfig("default"), EARLIER, { values, from });
  const missing = ALWAYS.filter((key) => !Object.hasOwn(values as object, key));
  if (missing.length > 0) {
    throw new DataError(
      `Cannot use ${from} as it says nothing of ${missing.join(", ")}: expected all of a run's ` +
        `configuration, as the run has written it; restore the file`,
    );
  }
  return config;
}
