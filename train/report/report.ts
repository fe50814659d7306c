/**
 * The page of a run: curves, scores, confusions, features and pictures in one HTML file.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { formatBytes, type Gpu } from "../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { readFile } from "../base/folders.ts";
import { formatDuration } from "../base/text.ts";
import { sentenceOf } from "../evaluation/causes.ts";
import { scoredNetworks } from "../run/run_folder.ts";
import { labelFreeScore } from "../evaluation/label_free.ts";
import { percentBars } from "./charts.ts";
import { curveSections } from "./curve_sections.ts";
import { networkSections } from "./network_sections.ts";
import { escape, figure, page, row, type Section, table } from "./page.ts";
import { readRunRecord, type RunRecord } from "./run_record.ts";

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

/**
 * Writes the page of a run. The network of its first stage and the one handed on predict the
 * target's val split for it.
 *
 * @throws {DataError} If a folder is no run's, or a file of it cannot be used.
 */
export async function writeReport(gpu: Gpu, options: ReportOptions): Promise<void> {
  const run = readRunRecord(options.run);
  const others = options.compare.map(readRunRecord);
  const sections = [
    ...scoreSections(run),
    ...causeSections(run),
    ...curveSections(run, others),
    ...await networkSections(gpu, run, options.onMessage),
    ...pictureSections(run),
    costSection(run),
    configSection(run),
  ];
  const { adapter, seed, stages } = run.result;
  const last = stages.find(({ handedOn }) => handedOn) ?? stages.at(-1);
  const outcome = last ? `${last.name}: mIoU ${percent(last.mIoU)} %` : "no stage is complete";
  const html = page(
    `Run ${basename(run.path)}`,
    `${outcome} on the target's ${run.config.data.evaluateOn} split; seed ${seed}; ${adapter}`,
    sections,
  );
  writeFileAtomic(options.output, [new TextEncoder().encode(html)]);
}

function scoreSections({ result, config }: RunRecord): Section[] {
  const stages = scoredNetworks(result);
  if (stages.length === 0) return [];
  const rows = stages.map((stage) => [
    stage.handedOn ? `${stage.name}*` : stage.name,
    String(stage.steps),
    percent(stage.mIoU),
    percent(stage.pixelAccuracy),
    percent(stage.source?.mIoU ?? NaN),
    percent(labelFreeScore(stage) ?? NaN),
    formatDuration(stage.seconds),
  ]);
  const columns = [
    "stage",
    "steps",
    "mIoU, %",
    "pixel accuracy, %",
    "source mIoU, %",
    "label-free score, %",
    "time",
  ];
  const starred = stages.some(({ handedOn }) => handedOn)
    ? " The star marks the one handed on."
    : "";
  const bars = stages.flatMap(({ name, classIoU }) =>
    Object.entries(classIoU).flatMap(([group, value]) =>
      value === null ? [] : [{ group, series: name, value }]
    )
  );
  return [{
    title: "Scores",
    lead:
      `On the target's ${config.data.evaluateOn} split, after each stage, and on source images that ` +
      `were held out.${starred}`,
    body: row([
      table([columns, ...rows]),
      bars.length > 0 ? figure(percentBars(bars), "IoU of each class after each stage") : "",
    ]),
  }];
}

/** What the run has found wrong, in the words in which it said so. */
function causeSections({ result: { stages, causes: ofData } }: RunRecord): Section[] {
  const rows = [{ name: "looking at the data", causes: ofData }, ...stages].flatMap((
    { name, causes = [] },
  ) => causes.map((cause) => [name, sentenceOf(cause)]));
  if (rows.length === 0) return [];
  return [{
    title: "What went wrong",
    lead: "Judged without a label of the target.",
    body: table([["after", "cause and way out"], ...rows], true),
  }];
}

/** A score; a dash where the run had no labels to measure on. */
function percent(score: number): string {
  return Number.isNaN(score) ? "–" : score.toFixed(1);
}

function pictureSections({ path, result }: RunRecord): Section[] {
  const samples = join(path, "samples");
  const figures = result.stages.map(({ name }) => ({ name, file: join(samples, `${name}.png`) }))
    .filter(({ file }) => existsSync(file))
    .map(({ name, file }) => figure(readFile(file), `after ${name}`));
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
        steps.sort().map((file) => figure(readFile(join(folder, file)), basename(file, ".png"))),
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
