/**
 * The page of a run: curves, scores, confusions, features and pictures in one HTML file.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { formatBytes, type Gpu } from "../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { type ClassSet, openRunData } from "../run/run_data.ts";
import type { Dataset } from "../data/dataset.ts";
import { encodeImage } from "../images/image.ts";
import { checkpointPathIn, type StageResult } from "../run/run_folder.ts";
import { colourLabel, contactSheet } from "../images/pictures.ts";
import { bankFor } from "../stages/denoise/soft_labels.ts";
import { formatDuration } from "../base/text.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../networks/trained_network.ts";
import { type CurvePoint, curves, featureMap, heatMap, percentBars } from "./charts.ts";
import { embed } from "./embedding.ts";
import { type FeatureSample, meanFeatures, pairwiseDistances, sampleFeatures } from "./features.ts";
import { type DatasetScores, scoreImages } from "./features.ts";
import { escape, figure, legend, page, row, type Section, table } from "./page.ts";
import { type MetricRecord, readRunRecord, type RunRecord } from "./run_record.ts";

/** What to report on. */
export interface ReportOptions {
  /** The run folder. */
  readonly run: string;
  /** Other runs whose curves are drawn beside its own, such as conventional self-training. */
  readonly compare: readonly string[];
  /** The HTML file to write. */
  readonly output: string;
  /** Hears what takes its time. */
  readonly onMessage: (text: string) => void;
}

/** Pixels of each class in a map of features, and pictures of images that went wrong. */
const [PIXELS_A_CLASS, WORST_IMAGES] = [120, 4];

/**
 * Writes the page of a run. The networks of its first and last stage predict the target's val split
 * for it.
 *
 * @throws {DataError} If a folder is no run's, or a file of it cannot be used.
 */
export async function writeReport(gpu: Gpu, options: ReportOptions): Promise<void> {
  const run = readRunRecord(options.run);
  const others = options.compare.map(readRunRecord);
  const sections = [
    ...scoreSections(run),
    ...curveSections(run, others),
    ...await networkSections(gpu, run, options.onMessage),
    ...pictureSections(run),
    costSection(run),
    configSection(run),
  ];
  const { adapter, seed, stages } = run.result;
  const last = stages.at(-1);
  const outcome = last ? `${last.name}: mIoU ${percent(last.mIoU)} %` : "no stage is complete";
  const html = page(
    `Run ${basename(run.path)}`,
    `${outcome} on the target's val split; seed ${seed}; ${adapter}`,
    sections,
  );
  writeFileAtomic(options.output, [new TextEncoder().encode(html)]);
}

function scoreSections({ result: { stages } }: RunRecord): Section[] {
  if (stages.length === 0) return [];
  const rows = stages.map(({ name, steps, mIoU, pixelAccuracy, seconds }) => [
    name,
    String(steps),
    percent(mIoU),
    percent(pixelAccuracy),
    formatDuration(seconds),
  ]);
  const bars = stages.flatMap(({ name, classIoU }) =>
    Object.entries(classIoU).flatMap(([group, value]) =>
      value === null ? [] : [{ group, series: name, value }]
    )
  );
  return [{
    title: "Scores",
    lead: "On the target's val split, after each stage.",
    body: row([
      table([["stage", "steps", "mIoU, %", "pixel accuracy, %", "time"], ...rows]),
      bars.length > 0 ? figure(percentBars(bars), "IoU of each class after each stage") : "",
    ]),
  }];
}

function curveSections(run: RunRecord, others: readonly RunRecord[]): Section[] {
  const sections: Section[] = [];
  const all = [run, ...others];
  const nameOf = (run: RunRecord, stage: string) =>
    others.length === 0 ? stage : `${basename(run.path)} ${stage}`;
  const evaluations = (key: string) =>
    all.flatMap((run) =>
      curve(
        run.metrics.map((record) => ({ ...record, step: record.step + stepsBefore(run, record) })),
        key,
        (stage) => nameOf(run, stage),
      )
    );
  const figures = [
    ["mIoU", "mIoU of the target's val split"],
    ["information", "mutual information of its images and predictions, which needs no labels"],
  ].flatMap(([key, caption]) => {
    const points = evaluations(key);
    return points.length > 0 ? [figure(curves(points, { y: "%", width: 500 }), caption)] : [];
  });
  if (figures.length > 0) {
    sections.push({
      title: "Target mIoU while training",
      lead: "Each evaluation on the val split; steps count on from stage to stage.",
      body: row(figures),
    });
  }
  const labels = all.flatMap((run) =>
    run.metrics.flatMap(({ stage, values: { labels, updates } }) =>
      isObject(labels) ? [{ stage: nameOf(run, stage), step: Number(updates), values: labels }] : []
    )
  );
  if (labels.length > 0) {
    const kinds = [["pixelAccuracy", "share of them that is right"], ["mIoU", "their mIoU"], [
      "coverage",
      "share of pixels that have one",
    ]];
    sections.push({
      title: "Pseudo labels while training",
      lead: "The labels that a stage learns, against the target's own, which it never reads: " +
        "the paper's Figure 3, and its Figure 4 where runs with other labels are compared.",
      body: row(
        kinds.map(([key, caption]) =>
          figure(curves(curve(labels, key, (stage) => stage), { y: "%", width: 500 }), caption)
        ),
      ),
    });
  }
  const stages = [...new Set(run.metrics.map(({ stage }) => stage))];
  if (stages.length > 0) {
    sections.push({
      title: "Losses",
      lead: "The unweighted terms of each stage, as running means over a twentieth of its steps.",
      body: stages.map((stage) => {
        const own = run.metrics.filter((record) => record.stage === stage);
        return `<h3>${escape(stage)}</h3>${row(lossFigures(own))}`;
      }).join("\n"),
    });
  }
  return sections;
}

function lossFigures(records: readonly MetricRecord[]): string[] {
  return lossNames(records).map((name) => {
    const points = smooth(curve(records, name, () => ""));
    return figure(curves(points, { width: 320, height: 170 }), name);
  });
}

/** Steps of the stages before a record's own. */
function stepsBefore({ config }: RunRecord, { stage }: MetricRecord): number {
  const before = config.pipeline.slice(0, config.pipeline.findIndex((name) => name === stage));
  return before.reduce((sum, name) => sum + config.stages[name].steps, 0);
}

async function networkSections(
  gpu: Gpu,
  run: RunRecord,
  onMessage: (text: string) => void,
): Promise<Section[]> {
  const done = run.result.stages.map((stage) => ({
    name: stage.name,
    path: checkpointPath(run, stage),
  })).filter(({ path }) => existsSync(path));
  const [before, after] = [done[0], done.at(-1)];
  if (!before || !after) return [];
  using trained = loadTrainedNetwork(gpu, after.path);
  const { classes } = trained;
  const { validation } = await openRunData(run.config.data, onMessage);
  if (validation.trainIds === null) return []; // nothing to compare predictions with
  onMessage(`predicting ${validation.items.length} images with the network of ${after.name}`);
  const scores = await scoreImages(trained, validation, WORST_IMAGES);
  const sections = [confusionSection(scores, classes, after.name)];
  onMessage("laying out features");
  const maps = [await featureFigure(gpu, before, validation, classes, run.config.seed)];
  if (after !== before) {
    maps.push(await featureFigure(gpu, after, validation, classes, run.config.seed));
  }
  sections.push({
    title: "Features of the target",
    lead:
      "UMAP of the features of val pixels, as many of each class, in the colours of their labels; stars are prototypes (the paper's Figure 5).",
    body: legend(classes.names, classes.palette) + row(maps.map(({ map }) => map)),
  });
  const { prototypes, name } = maps[maps.length - 1] as FeatureFigure;
  const known = prototypes.flatMap((prototype, k) =>
    prototype ? [{ prototype, name: classes.names[k] }] : []
  );
  const distances = pairwiseDistances(known.map(({ prototype }) => prototype));
  sections.push({
    title: "Distances between prototypes",
    body: figure(
      heatMap(known.map(({ name }) => name), distances, (value) => value.toFixed(1)),
      `Euclidean distances after ${name}`,
    ),
  });
  sections.push(worstSection(scores, classes));
  return sections;
}

/** A score; null where the run had no labels to measure on. */
function percent(score: number | null): string {
  return score === null ? "–" : score.toFixed(1);
}

function confusionSection({ matrix }: DatasetScores, classes: ClassSet, stage: string): Section {
  const { classCount: size, counts } = matrix;
  const sums = classes.names.map((_, label) =>
    counts.subarray(label * size, (label + 1) * size).reduce((sum, count) => sum + count, 0)
  );
  const shares = Array.from(
    counts,
    (count, at) => 100 * count / Math.max(1, sums[Math.floor(at / size)]),
  );
  return {
    title: "Confusions",
    lead: `Of all val pixels of a class, the share that ${stage} predicts as each class, in %.`,
    body: figure(
      heatMap(classes.names, shares, (value) => value.toFixed(0), { x: "prediction", y: "label" }),
      "rows add up to 100",
    ),
  };
}

interface FeatureFigure {
  readonly map: string;
  readonly prototypes: readonly (Float32Array | null)[];
  readonly name: string;
}

async function featureFigure(
  gpu: Gpu,
  { name, path }: { name: string; path: string },
  dataset: Dataset,
  classes: ClassSet,
  seed: number,
): Promise<FeatureFigure> {
  using trained = loadTrainedNetwork(gpu, path);
  const sample = await sampleFeatures(trained, dataset, { perClass: PIXELS_A_CLASS, seed });
  const prototypes = await prototypesOf(trained, path, sample);
  const map = featureMap(embed(sample, prototypes, seed), classes.palette);
  return { map: figure(map, `after ${name}`), prototypes, name };
}

/** The stage's own prototypes where the checkpoint has some, else means of what was sampled (eq. 4). */
async function prototypesOf(
  { network, classes }: TrainedNetwork,
  path: string,
  sample: FeatureSample,
): Promise<(Float32Array | null)[]> {
  using checkpoint = new Checkpoint(path);
  if (!checkpoint.has("prototypes.centroids")) return meanFeatures(sample, classes.names.length);
  using bank = bankFor(network);
  checkpoint.restore(bank.state(), "prototypes.");
  const values = await bank.prototypes.read();
  const channels = values.length / classes.names.length;
  return classes.names.map((_, k) => {
    const own = values.slice(k * channels, (k + 1) * channels);
    return own.some((value) => value !== 0) ? own : null; // a class that was never predicted
  });
}

function worstSection({ worst }: DatasetScores, { names, palette }: ClassSet): Section {
  const figures = worst.map(({ sample, prediction, mIoU }) => {
    const maps = [...(sample.label ? [sample.label] : []), prediction];
    const sheet = contactSheet([[sample.image, ...maps.map((map) => colourLabel(map, palette))]]);
    return figure(encodeImage(sheet), `${sample.name}: mIoU ${mIoU.toFixed(1)} %`);
  });
  return {
    title: "Images that went worst",
    lead: "Image, label, prediction.",
    body: legend(names, palette) + row(figures),
  };
}

function pictureSections({ path, result }: RunRecord): Section[] {
  const samples = join(path, "samples");
  const figures = result.stages.map(({ name }) => ({ name, file: join(samples, `${name}.png`) }))
    .filter(({ file }) => existsSync(file))
    .map(({ name, file }) => figure(Deno.readFileSync(file), `after ${name}`));
  const sections: Section[] = [];
  if (figures.length > 0) {
    sections.push({
      title: "Samples",
      lead: "Target images, their labels where there are any, predictions, and the labels that " +
        "stage 1 makes.",
      body: row(figures),
    });
  }
  for (const { name } of result.stages) {
    const folder = join(samples, name);
    const steps = existsSync(folder) ? [...Deno.readDirSync(folder)].map(({ name }) => name) : [];
    if (steps.length === 0) continue;
    sections.push({
      title: `Labels of ${name} as they change`,
      lead: "The same images at several steps: image, label, prediction, the stage's label (the " +
        "paper's Figure 2).",
      body: row(
        steps.sort().map((file) =>
          figure(Deno.readFileSync(join(folder, file)), basename(file, ".png"))
        ),
      ),
    });
  }
  return sections;
}

function costSection({ result: { stages }, config }: RunRecord): Section {
  const images = config.data.batch;
  return {
    title: "Time and memory",
    body: table([
      ["stage", "time", "steps/s", "images of each domain/s", "waiting for pixels", "GPU peak"],
      ...stages.map(({ name, steps, seconds, waitShare, peakBytes }) => [
        name,
        formatDuration(seconds),
        (steps / seconds).toFixed(2),
        (images * steps / seconds).toFixed(1),
        waitShare === undefined ? "–" : `${(100 * waitShare).toFixed(1)} %`,
        peakBytes === undefined ? "–" : formatBytes(peakBytes),
      ]),
    ]),
  };
}

function configSection({ config }: RunRecord): Section {
  const json = escape(JSON.stringify(config, null, 2));
  return {
    title: "Configuration",
    body: `<details><summary>config.json</summary><pre>${json}</pre></details>`,
  };
}

/** The checkpoint with the network that a stage was scored with. */
function checkpointPath(
  { path }: RunRecord,
  { name, steps, selected }: StageResult,
): string {
  const isEarlier = selected !== undefined && selected.step < steps;
  return checkpointPathIn(path, isEarlier ? `${name}.best` : name);
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

/** The numbers in the record of a step, but for its learning rate and scores: its losses. */
function lossNames(records: readonly MetricRecord[]): string[] {
  const first = records.find(({ values }) => "learningRate" in values)?.values ?? {};
  return Object.keys(first).filter((name) =>
    typeof first[name] === "number" &&
    !["learningRate", "mIoU", "pixelAccuracy", "information"].includes(name)
  );
}

function smooth(points: readonly CurvePoint[]): CurvePoint[] {
  const reach = Math.max(1, Math.round(points.length / 20));
  return points.map((point, at) => {
    const near = points.slice(Math.max(0, at - reach + 1), at + 1);
    return { ...point, y: near.reduce((sum, { y }) => sum + y, 0) / near.length };
  });
}
