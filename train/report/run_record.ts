// What a run folder says about a run that is over, or still going.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { mergeConfig, presetConfig, readConfigFile } from "../config/config.ts";
import type { RunConfig } from "../config/settings.ts";
import { DataError, describeFailure } from "../base/data_error.ts";
import type { RunResult } from "../run/run_folder.ts";

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
        `give the folder that ./run train --out named`,
    );
  }
  const values = readConfigFile(configPath);
  const resultPath = join(path, "result.json");
  return {
    path,
    config: mergeConfig(presetConfig("default"), { values, from: configPath }),
    result: existsSync(resultPath)
      ? parse(resultPath, readText(resultPath)) as RunResult
      : { adapter: "unknown", seed: 0, stages: [] },
    metrics: readMetrics(join(path, "metrics.jsonl")),
  };
}

function readMetrics(path: string): MetricRecord[] {
  const lines = readText(path).split("\n");
  lines.pop(); // empty, or torn: a run may be writing it
  return lines.map((line, at) => {
    const { stage, step, ...values } = parse(`${path}, line ${at + 1},`, line) as Record<
      string,
      unknown
    >;
    return { stage: String(stage), step: Number(step), values };
  });
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function parse(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreadable(what, error);
  }
}

function unreadable(what: string, error: unknown): DataError {
  return new DataError(
    `Cannot report on a run as ${what} cannot be used: ${describeFailure(error)}; ` +
      `restore the file, or report on another run`,
    { cause: error },
  );
}
