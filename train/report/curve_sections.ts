// The curves of a run and of others beside it: scores, pseudo labels, losses.

import { basename, resolve } from "node:path";
import { kindOf, type StageName } from "../stages/kinds.ts";
import {
  type CurveOptions,
  type CurvePoint,
  curves,
  isCut,
  seriesColours,
  type Span,
} from "./charts.ts";
import { textOfLoss } from "./loss_texts.ts";
import { cards, chart, escape, lineKey, type Section } from "./page.ts";
import type { MetricRecord, RunRecord } from "./run_record.ts";

/** The sections with curves, as far as the metrics hold any. */
export function curveSections(run: RunRecord, others: readonly RunRecord[]): Section[] {
  const runs = [run, ...others];
  return [...scoreCurves(runs), ...labelCurves(runs), ...lossCurves(run)];
}

/** A chart's title, and what it shows. */
type Measure = readonly [key: string, title: string, text: string];

const SCORES: readonly Measure[] = [
  ["mIoU", "mIoU on the target", "Of the split that is measured; the higher, the better."],
  ["sourceMIoU", "mIoU on the source", "Of held-out images: what adapting to the target costs."],
  [
    "information",
    "Mutual information",
    "Of target images and predictions, in percent of the most that there can be; needs no labels.",
  ],
];

function scoreCurves(runs: readonly RunRecord[]): Section[] {
  const [run] = runs;
  const spans = runs.length === 1 ? stageSpans(run) : [];
  const figures = SCORES.flatMap(([key, title, text]) => {
    const points = runs.flatMap((one) => evaluations(one, key, runName(runs, one)));
    const rings = runs.length === 1 && key === "mIoU" ? endScores(run) : [];
    const note = rings.length > 0 ? " Rings: the networks that the stages have left." : "";
    return points.length === 0 ? [] : [
      lines({ title, text: text + note }, points, {
        x: STEPS,
        y: "%",
        spans,
        rings,
        fromZero: true,
      }),
    ];
  });
  if (figures.length === 0) return [];
  return [{
    title: "Scores while training",
    lead: "Each evaluation; steps count on from stage to stage.",
    body: cards(figures),
  }];
}

const STEPS = "steps of training";

/** A chart, and a key of its lines where there are several. */
function lines(
  { title, text }: { title: string; text: string },
  points: readonly CurvePoint[],
  options: Omit<CurveOptions, "name">,
): string {
  const names = [...new Set(points.map(({ series }) => series))];
  const key = names.length > 1 ? lineKey(names, seriesColours(names.length)) : "";
  const cut = !options.fromZero && isCut(points) ? " The axis is cut: it does not start at 0." : "";
  const ends = names.map((name) => {
    const own = points.filter(({ series }) => series === name).map(({ y }) => y.toPrecision(3));
    return `${name ? `${name}: ` : ""}from ${own[0]} to ${own.at(-1)}`;
  });
  const name = `${title}, in ${options.y}, over ${options.x}. ${ends.join("; ")}.`;
  return chart({ title, text: text + cut }, key + curves(points, { ...options, name }));
}

const LABELS: readonly Measure[] = [
  ["pixelAccuracy", "Labels that are right", "Share of the pixels that have one."],
  ["mIoU", "mIoU of the labels", "Every class counts alike."],
  ["coverage", "Pixels with a label", "Share of all pixels."],
];

function labelCurves(runs: readonly RunRecord[]): Section[] {
  const labels = runs.flatMap((run) =>
    run.metrics.flatMap(({ stage, values: { labels, updates } }) =>
      isObject(labels)
        ? [{ stage, series: seriesName(runs, run, stage), step: Number(updates), values: labels }]
        : []
    )
  );
  if (labels.length === 0) return [];
  const figures = LABELS.map(([key, title, text]) => {
    const points = curve(labels, key, ({ series }) => series);
    // Single points, or a line that rises by nothing, say where they are only on a whole axis.
    const values = new Set(points.map(({ y }) => y));
    const isFlat = values.size < 2 || points.length < 2 * new Set(labels.map((l) => l.series)).size;
    return lines({ title, text }, points, { x: "steps of the stage", y: "%", fromZero: isFlat });
  });
  return [{
    title: "Pseudo labels while training",
    lead: "The labels that a stage learns, against the target's own, which it never reads: " +
      "the paper's Figure 3, and its Figure 4 where runs with other labels are compared.",
    body: cards(figures),
  }];
}

function lossCurves({ metrics }: RunRecord): Section[] {
  const stages = [...new Set(metrics.map(({ stage }) => stage))];
  if (stages.length === 0) return [];
  const bodies = stages.map((stage) => {
    const own = metrics.filter((record) => record.stage === stage);
    return `<h3>${escape(stage)}</h3>\n${cards(lossFigures(stage, own))}`;
  });
  return [{
    title: "Losses",
    lead:
      "Each term before it is weighted. Lines are means over a fiftieth of a stage's steps, in " +
      "the range of single steps.",
    body: bodies.join("\n"),
  }];
}

function lossFigures(stage: string, records: readonly MetricRecord[]): string[] {
  const isPretraining = kindOf(stage as StageName).role === "pretraining";
  return lossNames(records).map((name) => {
    const points = thinned(curve(records, name, () => ""));
    const { unit, text } = textOfLoss(name, isPretraining);
    return lines({ title: name, text }, points, { x: `steps of ${stage}`, y: unit });
  });
}

/** What a run's curves are called where there are several: its folder, or its path where two are alike. */
function runName(runs: readonly RunRecord[], { path }: RunRecord): string {
  if (runs.length === 1) return "";
  const name = (of: string) => basename(resolve(of));
  const isAlone = runs.filter((other) => name(other.path) === name(path)).length === 1;
  return isAlone ? name(path) : path;
}

function seriesName(runs: readonly RunRecord[], run: RunRecord, stage: string): string {
  return `${runName(runs, run)} ${stage}`.trim();
}

/** Steps of the stages before one. */
function stepsBefore({ config }: RunRecord, stage: string): number {
  const before = config.pipeline.slice(0, config.pipeline.findIndex((name) => name === stage));
  return before.reduce((sum, name) => sum + config.stages[name].steps, 0);
}

/** Where the stages of a run lie on the axis of all steps. */
function stageSpans(run: RunRecord): Span[] {
  const begun = new Set(run.metrics.map(({ stage }) => stage));
  return run.config.pipeline.filter((name) => begun.has(name)).map((name) => {
    const from = stepsBefore(run, name);
    return { name, from, to: from + run.config.stages[name].steps };
  });
}

/** A score at each evaluation of a run, and before the first step where that is known. */
function evaluations(run: RunRecord, key: string, series: string): CurvePoint[] {
  const start = run.result.start ?? run.earlier.at(-1);
  const first = key === "mIoU" && start && !Number.isNaN(start.mIoU)
    ? [{ x: 0, y: start.mIoU, series }]
    : [];
  const later = run.metrics.flatMap(({ stage, step, values }) => {
    const y = values[key];
    return typeof y === "number" ? [{ x: stepsBefore(run, stage) + step + 1, y, series }] : [];
  });
  return [...first, ...later];
}

/** The scores of what each stage has left: its best network, or one with other batch-norm statistics. */
function endScores(run: RunRecord): CurvePoint[] {
  return run.result.stages.filter(({ mIoU }) => !Number.isNaN(mIoU)).map((
    { name, steps, mIoU },
  ) => ({
    x: stepsBefore(run, name) + steps,
    y: mIoU,
    series: "",
  }));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** The values of a key wherever a record has it. */
function curve<R extends Pick<MetricRecord, "step" | "values">>(
  records: readonly R[],
  key: string,
  series: (record: R) => string,
): CurvePoint[] {
  return records.flatMap((record) => {
    const y = record.values[key];
    return typeof y === "number" ? [{ x: record.step, y, series: series(record) }] : [];
  });
}

/** The numbers in the record of a step that are no losses: its learning rate and scores. */
const NO_LOSSES = [
  "learningRate",
  "mIoU",
  "pixelAccuracy",
  "information",
  "agreement",
  "correlation",
  "sourceMIoU",
  "sourcePixelAccuracy",
];

/** The names of the losses in the record of a step. */
function lossNames(records: readonly MetricRecord[]): string[] {
  const first = records.find(({ values }) => "learningRate" in values)?.values ?? {};
  return Object.keys(first).filter((name) =>
    typeof first[name] === "number" &&
    !NO_LOSSES.includes(name)
  );
}

/** Points that a curve of losses has at most. */
const MOST_POINTS = 50;

/** Means of neighbouring points, each with the range that it stands for. */
function thinned(points: readonly CurvePoint[]): CurvePoint[] {
  const size = Math.max(1, Math.ceil(points.length / MOST_POINTS));
  return Array.from({ length: Math.ceil(points.length / size) }, (_, at) => {
    const own = points.slice(at * size, (at + 1) * size);
    const values = own.map(({ y }) => y);
    const mean = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / of.length;
    return {
      x: mean(own.map(({ x }) => x)),
      y: mean(values),
      series: own[0].series,
      low: Math.min(...values),
      high: Math.max(...values),
    };
  });
}
