/**
 * The page of a run: curves, scores, confusions, features and pictures in one HTML file.
 *
 * @module
 */
import { formatBytes, type Gpu } from "../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { formatDuration } from "../base/text.ts";
import { curveSections } from "./curve_sections.ts";
import { networkSections } from "./network_sections.ts";
import { card, escape, page, type Section, table } from "./page.ts";
import { presetOf, type PresetOfRun } from "./preset_of.ts";
import { classesOf, readRunRecord, type RunRecord } from "./run_record.ts";
import { scoreSections } from "./score_sections.ts";
import type { StepTimes } from "../run/step_times.ts";
import { foundCauses, verdict } from "./verdict.ts";

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
 * Writes the page of a run. For it, its networks predict sample images, and the first of them and the one
 * handed on the target's val split.
 *
 * @throws {DataError} If a folder is no run's, or a file of it cannot be used.
 */
export async function writeReport(gpu: Gpu, options: ReportOptions): Promise<void> {
  const run = readRunRecord(options.run);
  const others = options.compare.map(readRunRecord);
  const { pictures, classes } = await networkSections(gpu, run, options.onMessage);
  const sections = [
    ...scoreSections(run, classesOf(run)),
    ...causeSections(run),
    ...pictures,
    ...curveSections(run, others),
    ...classes,
    costSection(run),
    configSection(run),
  ];
  const html = page(verdict(run), sections, "This page needs no other file and no network.");
  writeFileAtomic(options.output, [new TextEncoder().encode(html)]);
}

/** What the run has found wrong, in the words in which it said so. */
function causeSections({ result }: RunRecord): Section[] {
  const items = foundCauses(result).map(({ sentence, after }) =>
    `<li><b>after ${escape(after.join(", "))}:</b> ${escape(`${sentence}.`)}</li>`
  );
  if (items.length === 0) return [];
  return [{
    title: "What went wrong",
    lead: "What the run has found of itself, without a label of the target, and what helps.",
    body: `<ul class="causes">\n${items.join("\n")}\n</ul>`,
  }];
}

function costSection({ result: { stages, pretraining }, config }: RunRecord): Section {
  const images = config.data.batch;
  const all = [...stages, ...(pretraining ? [pretraining] : [])];
  const isShared = all.some(({ times }) => times !== undefined);
  const costs = table(
    {
      title: "What each stage has cost",
      text:
        "Time by the clock, evaluations included; images are of each domain; GPU memory is the most at once." +
        (isShared
          ? " Of several processes rank 0 says what share of a step it has spent reading back, reducing and waiting."
          : ""),
    },
    [
      [
        ...["stage", "steps", "time", "steps per s", "images per s", "waiting for pixels"],
        ...isShared ? ["with other processes"] : [],
        "GPU memory",
      ],
      ...all.map(({ name, steps, seconds, waitShare, times, peakBytes }) => [
        name,
        String(steps),
        formatDuration(seconds),
        (steps / seconds).toFixed(2),
        (images * steps / seconds).toFixed(1),
        waitShare === undefined ? "–" : `${(100 * waitShare).toFixed(1)} %`,
        ...isShared ? [times === undefined ? "–" : shareOfOthers(times)] : [],
        peakBytes === undefined ? "–" : formatBytes(peakBytes),
      ]),
    ],
  );
  return { title: "Time and memory", body: card(costs) };
}

function shareOfOthers({ compute, readBack, reduce, wait }: StepTimes): string {
  const others = readBack + reduce + wait;
  return `${(100 * others / (compute + others)).toFixed(1)} %`;
}

function configSection({ config }: RunRecord): Section {
  const json = escape(JSON.stringify(config, null, 2));
  return {
    title: "Configuration",
    body: `${changedSettings(presetOf(config))}
<details><summary>All settings: config.json</summary><pre>${json}</pre></details>`,
  };
}

function changedSettings({ name, changed }: PresetOfRun): string {
  if (changed.length === 0) return `<p>Every setting is that of the preset ${name}.</p>`;
  return card(table(
    {
      title: `What differs from the preset ${name}`,
      text: "The preset is the nearest of those in this version; seed, folders and stages aside.",
    },
    [
      ["setting", "here", `in ${name}`],
      ...changed.map(({ key, value, preset }) => [key, value, preset]),
    ],
    { isText: true },
  ));
}
