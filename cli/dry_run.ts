// `train --dry-run`: what a run would take, as a table.

import { formatBytes, type Gpu } from "../kernels/runtime/mod.ts";
import { type Choice, choicesOf } from "../train/config/recipes.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { VARIANTS } from "../train/stages/common/settings.ts";
import type { ResolvedConfig } from "./train_config.ts";
import { checkBudget, planTraining, type TrainingPlan } from "../train/plan/plan.ts";
import { formatDuration, tableLines } from "../train/base/text.ts";
import { estimateSeconds, measureThroughput, type Throughput } from "../train/plan/throughput.ts";
import { classesOfRun } from "../train/run/run_data.ts";

/** What `--dry-run` finds out. */
export interface DryRun {
  readonly adapter: string;
  readonly classes: number;
  readonly plan: TrainingPlan;
  readonly throughput: Throughput;
  /** Seconds of a step, by stage. */
  readonly secondsPerStep: Readonly<Record<string, number>>;
  /** What was chosen for the data and why, a line each. */
  readonly reasons: readonly string[];
  /** What the run does where the paper and its released code disagree. */
  readonly choices: readonly Choice[];
}

/**
 * Plans a run for an adapter and measures how fast that is; nothing is trained or written.
 *
 * @throws {DataError} If a class file is missing.
 * @throws {MemoryError} If a stage does not fit the memory budget.
 */
export async function dryRun(
  gpu: Gpu,
  { config, preset, layers, reasons = [] }: ResolvedConfig,
): Promise<DryRun> {
  const classes = classesOfRun(config.data)[1].names.length;
  const { adapter, device: { limits }, kernelClass: kernels } = gpu;
  const plan = await planTraining(config, classes, { adapter, limits, kernels });
  checkBudget(plan, gpu.memory.budget);
  const throughput = await measureThroughput(gpu, config);
  const secondsPerStep = Object.fromEntries(
    plan.stages.map(({ name, step }) => [name, estimateSeconds(step, throughput)]),
  );
  const choices = choicesOf(config, preset, layers);
  return {
    adapter: adapter.description,
    classes,
    plan,
    throughput,
    secondsPerStep,
    reasons,
    choices,
  };
}

/** A dry run for people. */
export function formatDryRun(
  { adapter, classes, plan, throughput, secondsPerStep, reasons, choices }: DryRun,
  { data, memory }: RunConfig,
): string {
  const rate = (perSecond: number) => threeDigits(perSecond / 1e9);
  const rows = plan.stages.map(({ name, steps, step, peak, peakTaken }) => {
    const seconds = secondsPerStep[name] as number;
    return [
      name,
      String(steps),
      threeDigits(step.flops / 1e9),
      formatBytes(peak),
      formatBytes(peakTaken),
      threeDigits(seconds),
      formatTime(seconds * steps),
    ];
  });
  const head = ["stage", "steps", "GFLOP/step", "peak", "kept", "s/step", "time"];
  const lines = tableLines([head, ...rows]);
  const { batch, cropHeight, cropWidth } = data;
  const millions = (plan.parameters / 1e6).toPrecision(3);
  return [
    ...reasons,
    `${millions} million parameters, ${classes} classes; ${batch} images of ${cropWidth}×${cropHeight} a ` +
    `domain and step, in ${memory.accumulate} ${memory.accumulate === 1 ? "part" : "parts"}, ` +
    `recomputation ${memory.recompute ? "on" : "off"}`,
    `${adapter}: ${rate(throughput.flops)} GFLOP/s in convolutions, ${
      rate(throughput.bytes)
    } GB/s, ${threeDigits(throughput.dispatch * 1e6)} µs per kernel`,
    "",
    ...lines,
    "",
    "A step holds the peak at once, which is the least --memory-budget; with the buffers kept for reuse",
    "it takes what is kept. Times are rough, and of steps only.",
    plan.evaluation.problem === null
      ? `Evaluation of whole images holds ${formatBytes(plan.evaluation.peak)}.`
      : `Whole images cannot be evaluated on this adapter. ${plan.evaluation.problem}.`,
    ...choiceLines(choices),
  ].join("\n");
}

/** The choices as a table, with whose each is and where it was made. */
function choiceLines(choices: readonly Choice[]): string[] {
  if (choices.length === 0) return [];
  const rows = choices.map(({ key, value, variants, from }) => {
    const whose = VARIANTS.filter((variant) => variants[variant] === value);
    return [key, String(value), whose.join(", ") || "neither", from];
  });
  const head = ["where paper and released code disagree", "value", "as in", "from"];
  return ["", ...tableLines([head, ...rows])];
}

/** `0.0123`, `12.3` or `12,345`. */
function threeDigits(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}

/** `0:07`, `12:34`, `5:12:34` or `3.40 days`. */
function formatTime(seconds: number): string {
  if (seconds >= 48 * 3600) return `${threeDigits(seconds / 86400)} days`;
  return formatDuration(seconds);
}
