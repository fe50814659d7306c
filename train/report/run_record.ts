// What a run folder says about a run that is over, or still going.

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RunConfig } from "../config/settings.ts";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { parseMetricLine } from "../run/metrics_file.ts";
import { classesOfRun, type ClassSet } from "../run/run_data.ts";
import { readRunConfig } from "../run/run_config.ts";
import {
  readRunResult,
  type RunResult,
  scoredNetworks,
  type StageResult,
} from "../run/run_folder.ts";

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
  /** What `result.json` of the run that it builds on says of the stages before its own. */
  readonly earlier: readonly StageResult[];
  /** The day on which it began, as `2026-11-29`; by its files, where it has not recorded that. */
  readonly date: string;
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
  const config = readRunConfig(path);
  const result = readRunResult(path) ?? { adapter: "unknown", seed: config.seed, stages: [] };
  return {
    path,
    config,
    result,
    earlier: earlierStages(config),
    date: dateOf(result, configPath),
    metrics: readMetrics(join(path, "metrics.jsonl"), config.pipeline),
  };
}

/** The classes of a run; null where its data are gone. */
export function classesOf({ config }: RunRecord): ClassSet | null {
  try {
    return classesOfRun(config.data)[1];
  } catch (error) {
    if (error instanceof DataError) return null;
    throw error;
  }
}

/** The networks with scores: of the run that it builds on, what it started from, and its stages. */
export function networksOf({ earlier, result }: RunRecord): readonly StageResult[] {
  return [...earlier, ...scoredNetworks(result)];
}

/** Scores of the run that a run builds on; none where its folder is gone. */
function earlierStages({ base, pipeline }: RunConfig): StageResult[] {
  try {
    const { stages = [] } = (base !== null && readRunResult(base)) || {};
    return stages.filter(({ name }) => !pipeline.some((own) => own === name))
      .map(({ handedOn: _, ...stage }) => stage);
  } catch (error) {
    if (error instanceof DataError) return [];
    throw error;
  }
}

function dateOf({ started }: RunResult, configPath: string): string {
  if (started !== undefined) return started.slice(0, 10);
  const { mtime } = Deno.statSync(configPath);
  return mtime ? `${mtime.toISOString().slice(0, 10)}, by its files` : "unknown";
}

function readMetrics(path: string, pipeline: readonly string[]): MetricRecord[] {
  const failure = (what: string, cause?: unknown) =>
    new DataError(
      `Cannot report on a run as ${what}; restore the file, or report on another run`,
      { cause },
    );
  let lines: string[];
  try {
    lines = Deno.readTextFileSync(path).split("\n");
  } catch (error) {
    throw failure(`${path} cannot be read: ${describeFailure(error)}`, error);
  }
  lines.pop(); // empty, or torn: a run may be writing it
  return lines.map((line, at) => {
    const record = parseMetricLine(line);
    if (!record || !pipeline.includes(record.stage)) {
      throw failure(
        `${path}, line ${at + 1}, is ${
          JSON.stringify(line.slice(0, 60))
        }: expected an object with a ` +
          `step and its stage, one of ${pipeline.join(", ")}`,
      );
    }
    const { stage, step, ...values } = record;
    return { stage, step, values };
  });
}
