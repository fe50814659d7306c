// An ablation: the trainings of a table for every seed, each in a run folder that is resumed or skipped.

import { join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { DataError } from "../base/data_error.ts";
import { exists, makeFolder, removeAll } from "../base/folders.ts";
import { mergeConfig } from "../config/config.ts";
import { withPretraining } from "../config/pipeline.ts";
import type { RunConfig } from "../config/settings.ts";
import type { TrainingObserver } from "../run/observer.ts";
import {
  readRunResult,
  removeUnstarted,
  resultOfStage,
  type StageResult,
} from "../run/run_folder.ts";
import { readRunConfig } from "../run/run_config.ts";
import { resumeTraining, runTraining } from "../run/run.ts";
import { kindOf } from "../stages/kinds.ts";
import { type AblationGrid, RUNS } from "./grids.ts";
import { type AblationTable, formatTable, type TableRow } from "./table.ts";

/** What to run. */
export interface AblationOptions {
  readonly grid: AblationGrid;
  readonly seeds: readonly number[];
  /** What all runs share; its seed, folder and pipeline are each run's own. */
  readonly base: RunConfig;
  /** The folder of all run folders and of the table. */
  readonly out: string;
}

/** One training of an ablation. */
export interface PlannedRun {
  readonly seed: number;
  /** The first of the names under which {@link RUNS} has it. */
  readonly name: string;
  readonly config: RunConfig;
}

/**
 * The trainings of a grid in an order in which each comes after the one that it starts from: all of a
 * seed, then those of the next.
 *
 * @throws {DataError} If the configuration does not allow one of them.
 */
export function planAblation(options: AblationOptions): PlannedRun[] {
  const needed = runsOf(options.grid);
  return options.seeds.flatMap((seed) => {
    const runs = plannedRuns(seed, options);
    const wanted = new Set([...needed].map((name) => runs.get(name)));
    return [...new Set(runs.values())].filter((run) => wanted.has(run));
  });
}

/** Every run of a seed by its name; names that would be the same training have the same run. */
function plannedRuns(seed: number, options: AblationOptions): Map<string, PlannedRun> {
  const runs = new Map<string, PlannedRun>();
  for (const name of Object.keys(RUNS)) {
    const config = configOfRun(name, seed, options);
    const same = runs.values().find((run) => isSameTraining(run.config, config));
    runs.set(name, same ?? { seed, name, config });
  }
  return runs;
}

/**
 * Trains what is missing of a grid and writes its table after every run. What has been trained in an
 * earlier call, or for another grid, is taken as it is; what was interrupted goes on.
 *
 * @param signal Stops after the current step, with everything saved.
 * @returns The table as far as it has come.
 * @throws {DataError} If data or a folder cannot be used, or a folder holds another training.
 */
export async function runAblation(
  options: AblationOptions,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
): Promise<AblationTable> {
  const plan = planAblation(options);
  const pathOf = tablePaths(options);
  makeFolder(pathOf.folder);
  for (const [index, run] of plan.entries()) {
    if (signal.aborted) break;
    if (resultOf(run.config)) continue;
    observer.message(`seed ${run.seed}, ${run.name} (run ${index + 1} of ${plan.length})`);
    await train(run.config, gpu, observer, signal);
    writeTable(options);
  }
  return writeTable(options);
}

/** Where the table lies: a folder of the grid's name, with `table.md` and `table.json`. */
export function tablePaths({ grid, out }: Pick<AblationOptions, "grid" | "out">) {
  const folder = join(out, grid.name);
  return { folder, markdown: join(folder, "table.md"), json: join(folder, "table.json") };
}

/** The runs that the rows of a grid show, and those they start from. */
function runsOf({ rows }: AblationGrid): Set<string> {
  const needed = new Set<string>();
  for (const { run } of rows) lineage(run).forEach((name) => needed.add(name));
  return needed;
}

/** A run, the one that it starts from, and so on. */
function lineage(run: string): string[] {
  const { after } = RUNS[run];
  return after === null ? [run] : [run, ...lineage(after)];
}

function configOfRun(name: string, seed: number, { base, out }: AblationOptions): RunConfig {
  const { pipeline, after, values } = RUNS[name];
  const own = typeof values === "function" ? values(base) : values;
  const folderOf = (run: string) => join(out, `seed-${seed}`, run);
  const start = after === null ? null : folderOf(after);
  const every = Math.max(1, Math.floor(base.stages.stage1.steps / 5));
  const watched = { ...base, labelWatch: { ...base.labelWatch, every } };
  const config = mergeConfig(
    watched,
    { values: own, from: `run ${name}` },
    { values: { seed, out: folderOf(name), pipeline, base: start }, from: `run ${name}` },
  );
  const isPretrained = lineage(name).some((run) =>
    RUNS[run].pipeline.some((stage) => kindOf(stage).role === "pretraining")
  );
  return isPretrained ? config : withPretraining(config);
}

/** Whether two configurations are the same but for the folders' place and stages that they do not run. */
function isSameTraining(a: RunConfig, b: RunConfig): boolean {
  const placeless = ({ base, out, stages, ...rest }: RunConfig) => ({
    ...rest,
    stages: rest.pipeline.map((name) => stages[name]),
    base: base && relative(out, base),
  });
  return isDeepStrictEqual(placeless(a), placeless(b));
}

async function train(
  config: RunConfig,
  gpu: Gpu,
  observer: TrainingObserver,
  signal: AbortSignal,
): Promise<void> {
  const options = { keepGoing: true }; // a row that fails is a finding too
  try {
    if (exists(join(config.out, "config.json"))) {
      await resumeTraining(config.out, gpu, observer, signal, options);
    } else {
      removeUnstarted(config.out);
      await runTraining(config, gpu, observer, signal, options);
    }
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
  }
  // The largest files of a run, and the start that all runs share can make them again.
  if (resultOf(config)) removeAll(join(config.out, "soft_labels"));
  gpu.pool.trim();
}

/** The stages of a finished run, null where it is not finished or not begun. */
function resultOf(config: RunConfig): readonly StageResult[] | null {
  if (!exists(join(config.out, "config.json"))) return null;
  const found = readRunConfig(config.out);
  if (!isSameTraining(found, config)) {
    throw new DataError(
      `Cannot use run folder ${config.out} as its config.json is another training's: expected the ` +
        `settings of this ablation; choose another folder`,
      { options: ["out"] },
    );
  }
  const result = readRunResult(config.out);
  const isDone = config.pipeline.every((name) => resultOfStage(result, name) !== undefined);
  return result && isDone ? result.stages : null;
}

function writeTable(options: AblationOptions): AblationTable {
  const { name, title, finding, rows } = options.grid;
  const runs = options.seeds.map((seed) => plannedRuns(seed, options));
  const table: AblationTable = {
    grid: name,
    title,
    finding,
    seeds: options.seeds,
    rows: rows.map(({ title, run, stage, published }): TableRow => {
      const scores = runs.map((ofSeed) => {
        const planned = ofSeed.get(run);
        return (planned && resultOf(planned.config))?.find(({ name }) => name === stage) ?? null;
      });
      const steps = `${runs[0]?.get(run)?.config.stages[stage].steps} steps`;
      const isReference = kindOf(stage).role === "reference";
      return {
        title: isReference ? `${title} (${steps})` : title,
        published,
        ...(isReference ? { reference: steps } : {}),
        mIoU: scores.map((score) => score?.mIoU ?? null),
        seconds: scores.map((score) => score?.seconds ?? null),
      };
    }),
  };
  const { markdown, json } = tablePaths(options);
  const encode = (text: string) => [new TextEncoder().encode(text)];
  writeFileAtomic(json, encode(JSON.stringify(table, null, 2) + "\n"));
  writeFileAtomic(markdown, encode(formatTable(table)));
  return table;
}
