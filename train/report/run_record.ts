// What a run folder says about a run that is over, or still going.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { mergeConfig, presetConfig, readConfigFile } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError, describeFailure } from "../base/data_error.ts";
import { readRunResult, type RunResult } from "../run/run_folder.ts";

/** One line of `metrics.jsonl`. */
export interface MetricRecord {
  /** The stage it belongs to. */
  readonly stage: string;
  /** The step, from 0. */
  readonly step: number;
  /** Losses, scores and whatever else the line holds. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** A run folder as it was read. */
export interface RunRecord {
  /** The folder. */
  readonly path: string;
  /** Its `config.json`. */
  readonly config: RunConfig;
  /** Its `result.json`; without stages where the run has finished none. */
  readonly result: RunResult;
  /** Its `metrics.jsonl`, a torn last line left out. */
  readonly metrics: readonly MetricRecord[];
}

/**
 * Reads a run folder; a run may be writing to it.
 *
 * @throws {DataError} If it is no run folder, or a file in it cannot be read.
 */
export function readRunRecord(path: string): RunRecord {
  const configPath = join(path, "config.json");
  if (!existsSync(configPath)) {
    throw new DataError(
      `Cannot report on ${path} as it has no config.json: expected the folder of a run; ` +
        `give the folder that a training named`,
    );
  }
  const values = readConfigFile(configPath);
  return {
    path,
    config: mergeConfig(presetConfig("default"), { values, from: configPath }),
    result: readRunResult(path) ?? { adapter: "unknown", seed: 0, stages: [] },
    metrics: readMetrics(join(path, "metrics.jsonl")),
  };
}

function readMetrics(path: string): MetricRecord[] {
  const lines = attempt(path, () => Deno.readTextFileSync(path)).split("\n");
  lines.pop(); // empty, or torn: a run may be writing it
  return lines.map((line, at) => {
    const { stage, step, ...values } = attempt(
      `${path}, line ${at + 1},`,
      () => JSON.parse(line) as Record<string, unknown>,
    );
    return { stage: String(stage), step: Number(step), values };
  });
}

/** Reads `what`, or says that it cannot be used. */
function attempt<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new DataError(
      `Cannot report on a run as ${what} cannot be used: ${describeFailure(error)}; ` +
        `restore the file, or report on another run`,
      { cause: error },
    );
  }
}
