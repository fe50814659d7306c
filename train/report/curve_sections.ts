// The curves of a run and of others beside it: scores, pseudo labels, losses.

import { basename } from "node:path";
import { type CurvePoint, curves } from "./charts.ts";
import { escape, figure, row, type Section } from "./page.ts";
import type { MetricRecord, RunRecord } from "./run_record.ts";

/** The sections with curves, as far as the metrics hold any. */
export function curveSections(run: RunRecord, others: readonly RunRecord[]): Section[] {
  const runs = [run, ...others];
  return [...scoreCurves(runs), ...labelCurves(runs), ...lossCurves(run)];
}

function scoreCurves(runs: readonly RunRecord[]): Section[] {
  const figures = [
    ["mIoU", "mIoU of the target's val split"],
    ["sourceMIoU", "mIoU of held-out images of the source"],
    ["information", "mutual information of its images and predictions, which needs no labels"],
  ].flatMap(([key, caption]) => {
    const points = runs.flatMap((run) =>
      curve(
        run.metrics.map((record) => ({ ...record, step: record.step + stepsBefore(run, record) })),
        key,
        (stage) => curveName(runs, run, stage),
      )
    );
    return points.length > 0 ? [figure(curves(points, { y: "%", width: 500 }), caption)] : [];
  });
  if (figures.length === 0) return [];
  return [{
    title: "Target mIoU while training",
    lead: "Each evaluation on the val split; steps count on from stage to stage.",
    body: row(figures),
  }];
}

function labelCurves(runs: readonly RunRecord[]): Section[] {
  const labels = runs.flatMap((run) =>
    run.metrics.flatMap(({ stage, values: { labels, updates } }) =>
      isObject(labels)
        ? [{ stage: curveName(runs, run, stage), step: Number(updates), values: labels }]
        : []
    )
  );
  if (labels.length === 0) return [];
  const figures = [
    ["pixelAccuracy", "share of them that is right"],
    ["mIoU", "their mIoU"],
    ["coverage", "share of pixels that have one"],
  ].map(([key, caption]) =>
    figure(curves(curve(labels, key, (stage) => stage), { y: "%", width: 500 }), caption)
  );
  return [{
    title: "Pseudo labels while training",
    lead: "The labels that a stage learns, against the target's own, which it never reads: " +
      "the paper's Figure 3, and its Figure 4 where runs with other labels are compared.",
    body: row(figures),
  }];
}

function lossCurves({ metrics }: RunRecord): Section[] {
  const stages = [...new Set(metrics.map(({ stage }) => stage))];
  if (stages.length === 0) return [];
  const bodies = stages.map((stage) => {
    const own = metrics.filter((record) => record.stage === stage);
    return `<h3>${escape(stage)}</h3>${row(lossFigures(own))}`;
  });
  return [{
    title: "Losses",
    lead: "The unweighted terms of each stage, as running means over a twentieth of its steps.",
    body: bodies.join("\n"),
  }];
}

function lossFigures(records: readonly MetricRecord[]): string[] {
  return lossNames(records).map((name) => {
    const points = smooth(curve(records, name, () => ""));
    return figure(curves(points, { width: 320, height: 170 }), name);
  });
}

/** What a curve is called: its stage, and its run where there are several. */
function curveName({ length }: readonly RunRecord[], { path }: RunRecord, stage: string): string {
  return length === 1 ? stage : `${basename(path)} ${stage}`;
}

/** Steps of the stages before a record's own. */
function stepsBefore({ config }: RunRecord, { stage }: MetricRecord): number {
  const before = config.pipeline.slice(0, config.pipeline.findIndex((name) => name === stage));
  return before.reduce((sum, name) => sum + config.stages[name].steps, 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** The values of a key wherever a record has it. */
function curve(
  records: readonly MetricRecord[],
  key: string,
  series: (stage: string) => string,
): CurvePoint[] {
  return records.flatMap(({ stage, step, values }) => {
    const y = values[key];
    return typeof y === "number" ? [{ x: step, y, series: series(stage) }] : [];
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

function smooth(points: readonly CurvePoint[]): CurvePoint[] {
  const reach = Math.max(1, Math.round(points.length / 20));
  return points.map((point, at) => {
    const near = points.slice(Math.max(0, at - reach + 1), at + 1);
    return { ...point, y: near.reduce((sum, { y }) => sum + y, 0) / near.length };
  });
}
