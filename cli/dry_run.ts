// `train --dry-run`: what a run would take, as a table.

import { formatBytes, type Gpu, type PlanningOptions } from "../kernels/runtime/mod.ts";
import { type Choice, choicesOf } from "../train/config/recipes.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { VARIANTS } from "../train/stages/common/settings.ts";
import type { ResolvedConfig } from "./train_config.ts";
import { checkBudget, planStage, planTraining, type TrainingPlan } from "../train/plan/plan.ts";
import { formatDuration, tableLines } from "../train/base/text.ts";
import { estimateSeconds, measureThroughput, type Throughput } from "../train/plan/throughput.ts";
import { classesOfRun } from "../train/run/run_data.ts";

const DAY = 86400;
const MONTH = 30 * DAY;
/** What leaves more than this share of the memory is no way to save any. */
const WORTH_SAYING = 0.95;

/** Flags that save memory, and what they leave. */
interface Saving {
  readonly flags: string;
  readonly peak: number;
}

/** What `--dry-run` finds out. */
export interface DryRun {
  readonly adapter: string;
  readonly classes: number;
  readonly plan: TrainingPlan;
  readonly throughput: Throughput;
  /** Seconds of a step, by stage. */
  readonly secondsPerStep: Readonly<Record<string, number>>;
  /** What saves memory in the stage that takes the most, and the bytes that a step then holds at once. */
  readonly savings: readonly Saving[];
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
  const device = { adapter, limits, kernels };
  const plan = await planTraining(config, classes, device);
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
    savings: await savingsOf(config, largestOf(plan), classes, device),
    reasons,
    choices,
  };
}

/** The stage whose steps hold the most bytes at once. */
function largestOf({ stages }: Pick<TrainingPlan, "stages">): TrainingPlan["stages"][number] {
  return stages.reduce((a, b) => (b.peak > a.peak ? b : a));
}

/** What a run could set to hold less at once, that it does not set yet and that helps. */
async function savingsOf(
  config: RunConfig,
  { name, peak }: Pick<TrainingPlan["stages"][number], "name" | "peak">,
  classes: number,
  device: PlanningOptions,
): Promise<Saving[]> {
  const { memory: { recompute, accumulate }, data: { batch } } = config;
  const ways = [
    { flags: "--recompute", memory: { recompute: true, accumulate } },
    { flags: `--accumulate ${batch}`, memory: { recompute, accumulate: batch } },
    { flags: "both", memory: { recompute: true, accumulate: batch } },
  ];
  const savings: Saving[] = [];
  for (const { flags, memory } of ways) {
    const saving = { ...config, memory: { ...config.memory, ...memory } };
    const { peak: left } = await planStage(saving, classes, name, device);
    const least = Math.min(peak, ...savings.map(({ peak }) => peak));
    if (left < WORTH_SAYING * (flags === "both" ? least : peak)) {
      savings.push({ flags, peak: left });
    }
  }
  return savings;
}

/** A dry run for people. */
export function formatDryRun(found: DryRun, config: RunConfig): string {
  const { adapter, classes, plan, throughput, reasons, choices } = found;
  const { data: { batch, cropHeight, cropWidth }, memory: { accumulate, recompute } } = config;
  const rate = (perSecond: number) => threeDigits(perSecond / 1e9);
  const millions = (plan.parameters / 1e6).toPrecision(3);
  const parts = accumulate === 1 ? "" : `, in ${accumulate} parts`;
  return [
    ...reasons,
    `${millions} million parameters, ${classes} classes; a step learns ${batch} images of ` +
    `${cropWidth}×${cropHeight} a domain${parts}${recompute ? ", with recomputation" : ""}`,
    `${adapter}: ${rate(throughput.flops)} GFLOP/s in convolutions, ${
      rate(throughput.bytes)
    } GB/s, ${threeDigits(throughput.dispatch * 1e6)} µs per kernel`,
    "",
    ...stageTable(found),
    "",
    ...timeLines(found),
    ...memoryLines(found, config),
    ...choiceLines(choices),
  ].join("\n");
}

/** A row a stage, and what they come to. */
function stageTable({ plan: { stages }, secondsPerStep }: DryRun): string[] {
  const rows = stages.map(({ name, steps, step, peak, peakTaken }) => [
    name,
    String(steps),
    threeDigits(step.flops / 1e9),
    formatBytes(peak),
    formatBytes(peakTaken),
    threeDigits(secondsPerStep[name]),
    formatTime(secondsPerStep[name] * steps),
  ]);
  const head = ["stage", "steps", "GFLOP/step", "peak", "kept", "s/step", "time"];
  if (stages.length === 1) return tableLines([head, ...rows]);
  const all = [
    "all",
    String(stages.reduce((sum, { steps }) => sum + steps, 0)),
    "",
    formatBytes(Math.max(...stages.map(({ peak }) => peak))),
    formatBytes(Math.max(...stages.map(({ peakTaken }) => peakTaken))),
    "",
    formatTime(totalSeconds({ plan: { stages }, secondsPerStep })),
  ];
  const lines = tableLines([head, ...rows, all]);
  return lines.toSpliced(-1, 0, lines[1]);
}

/** The seconds of all steps. */
function totalSeconds(
  { plan: { stages }, secondsPerStep }: {
    readonly plan: Pick<TrainingPlan, "stages">;
    readonly secondsPerStep: DryRun["secondsPerStep"];
  },
): number {
  return stages.reduce((sum, { name, steps }) => sum + secondsPerStep[name] * steps, 0);
}

/** What the times are, and where they are more than anyone waits, what would help. */
function timeLines(found: DryRun): string[] {
  const seconds = totalSeconds(found);
  const lines = ["Times are rough, and of steps only: labels and scores are not in them."];
  if (seconds > MONTH) {
    const flops = found.plan.stages.reduce((sum, { step, steps }) => sum + step.flops * steps, 0);
    lines.push(
      `This machine cannot do it in a month: ${
        formatTime(seconds)
      } of steps. In a week it takes a GPU that`,
      `computes ${
        threeDigits(flops / (7 * DAY) / 1e12)
      } TFLOP/s; or learn less: another --preset, or ` +
        "--time for the steps.",
    );
  }
  return lines;
}

/** What a run takes of the GPU's memory, what that depends on, and what lowers it. */
function memoryLines(
  { plan: { stages, evaluation }, savings }: DryRun,
  { data: { cropHeight, cropWidth, longSide } }: RunConfig,
): string[] {
  const { name, peak, peakTaken } = largestOf({ stages });
  const ways = savings.map(({ flags, peak }) => `${flags} to ${formatBytes(peak)}`);
  return [
    `A step of ${name} holds ${
      formatBytes(peak)
    } at once, which is the least --memory-budget, and takes ` +
    `${formatBytes(peakTaken)}`,
    `with buffers kept for reuse. It grows with data.cropWidth × data.cropHeight, ${cropWidth}×${cropHeight} here` +
    (ways.length > 0 ? ";" : "."),
    ...ways.length > 0 ? [`${ways.join(", ").replace(" to ", " lowers it to ")}.`] : [],
    ...evaluation.problem === null
      ? [
        `Evaluation of whole images, of data.longSide ${longSide}, holds ${
          formatBytes(evaluation.peak)
        }.`,
      ]
      : [
        `Whole images cannot be evaluated on this adapter at data.longSide ${longSide}: an array of one is`,
        "larger than it binds. " +
        (evaluation.longSide === null
          ? "No smaller size fits either."
          : `Set data.longSide to ${evaluation.longSide} or less (--config).`),
      ],
  ];
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
  if (seconds >= 48 * 3600) return `${threeDigits(seconds / DAY)} days`;
  return formatDuration(seconds);
}
