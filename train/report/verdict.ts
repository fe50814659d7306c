// What stands at the top of the page: what the run has come to, and what it was.

import { basename, dirname, resolve } from "node:path";
import { formatDuration } from "../base/text.ts";
import { sentenceOf } from "../evaluation/causes.ts";
import { labelFreeScore } from "../evaluation/label_free.ts";
import type { StageResult } from "../run/run_folder.ts";
import { signed } from "./charts.ts";
import { escape, type Head } from "./page.ts";
import { presetOf, type PresetOfRun } from "./preset_of.ts";
import { networksOf, type RunRecord } from "./run_record.ts";

/** What the networks of a run have come to. */
export interface Outcome {
  /** Of the run that it builds on, of the start, and of every stage that is over. */
  readonly networks: readonly StageResult[];
  /** The first of them; the source alone has trained it, as a rule. */
  readonly before: StageResult;
  /** The one that the run hands on. */
  readonly after: StageResult;
  /** The one that the first is compared with: the one handed on, or the last where that is the first. */
  readonly compared: StageResult;
  /** The one with the highest mIoU; undefined where the target has no labels to measure on. */
  readonly best: StageResult | undefined;
  /** Points of mIoU from the first to the one handed on; NaN where they are not known. */
  readonly gain: number;
}

/** Compares the networks of a run; null where none is there yet. */
export function outcomeOf(run: RunRecord): Outcome | null {
  const networks = networksOf(run);
  const [before, last] = [networks[0], networks.at(-1)];
  if (!before || !last) return null;
  const after = networks.find(({ handedOn }) => handedOn) ?? last;
  const measured = networks.filter(({ mIoU }) => !Number.isNaN(mIoU));
  const most = Math.max(...measured.map(({ mIoU }) => mIoU));
  const best = measured.findLast(({ mIoU }) => mIoU === most);
  const compared = after === before ? last : after;
  return { networks, before, after, compared, best, gain: after.mIoU - before.mIoU };
}

/** The head of the page. */
export function verdict(run: RunRecord): Head {
  const outcome = outcomeOf(run);
  const title = `${nameOf(run)} on ${dataOf(run)}`;
  const score = outcome?.best ? `: mIoU ${outcome.after.mIoU.toFixed(1)} %` : "";
  const preset = presetOf(run.config);
  return {
    title: `${title}${score}`,
    body: [
      `<p class="kicker">Report of a training run of proda-webgpu</p>`,
      `<h1>${escape(title)}</h1>`,
      `<p class="said">${escape(said(run, outcome))}</p>`,
      outcome ? tiles(run, outcome) : "",
      facts(run, preset),
    ].join("\n"),
  };
}

/** What a run is called: its folder. */
function nameOf({ path }: RunRecord): string {
  return basename(resolve(path));
}

/** What its data are called: the folders, or the one that they are in where their names say little. */
export function dataOf({ config: { data } }: RunRecord): string {
  const { sourceDirectory, targetDirectory } = data;
  if (sourceDirectory === null || targetDirectory === null) return "streets";
  const [source, target] = [resolve(sourceDirectory), resolve(targetDirectory)];
  return dirname(source) === dirname(target) && basename(source) === "source"
    ? basename(dirname(source))
    : `${basename(source)} → ${basename(target)}`;
}

function said(run: RunRecord, outcome: Outcome | null): string {
  const { result, config: { pipeline, data } } = run;
  const open = pipeline.length - result.stages.length - Number(result.pretraining !== undefined);
  const end = open > 0 ? ` ${open} of ${pipeline.length} stages are not over.` : "";
  if (!outcome) return `No stage is over yet.${end}`;
  const { before, after, best, gain } = outcome;
  const where = `of the target's ${data.evaluateOn} split`;
  const score = labelFreeScore(after);
  if (Number.isNaN(after.mIoU)) {
    const free = score === undefined ? "" : ` Its label-free score is ${score.toFixed(1)} %.`;
    return `The network of ${after.name} is handed on. The target has no labels to measure mIoU ` +
      `on.${free}${end}`;
  }
  const reached =
    `The network of ${after.name} reaches ${percent(after.mIoU)} mIoU on the images ` +
    where;
  if (after === before) {
    const other = best && best !== after
      ? ` It is handed on, though that of ${best.name} reaches ${percent(best.mIoU)}.`
      : "";
    return `${reached}.${other}${end}`;
  }
  const by = `${Math.abs(gain).toFixed(1)} points ${gain < 0 ? "less" : "more"}`;
  return `${reached}, ${by} than that of ${before.name}.${end}`;
}

function tiles({ result }: RunRecord, { before, after, best, gain, networks }: Outcome): string {
  const isKnown = best !== undefined;
  const tone = gain < 0 ? "bad" : "good";
  const list = [
    isKnown && after !== before
      ? tile(
        `Gain over ${before.name}`,
        signed(gain),
        `points of target mIoU, ${before.mIoU.toFixed(1)} → ${percent(after.mIoU)}`,
        tone,
      )
      : "",
    isKnown && after === before ? tile("Target mIoU", percent(after.mIoU), `of ${after.name}`) : "",
    isKnown && networks.length > 1
      ? tile(
        "Best stage",
        best.name,
        `${percent(best.mIoU)} target mIoU, the most of ${count(networks.length, "network")}`,
      )
      : "",
    tile("Handed on", after.name, handedOnNote(after, best)),
    tile("What went wrong", ...causesNote(result)),
  ];
  return `<dl class="tiles">${list.join("")}</dl>`;
}

function handedOnNote(after: StageResult, best: StageResult | undefined): string {
  const free = labelFreeScore(after);
  const score = free === undefined ? "" : `, label-free score ${percent(free)}`;
  if (best === undefined) return `chosen without target labels${score}`;
  if (after === best) return `the best one, chosen without target labels${score}`;
  const lack = (best.mIoU - after.mIoU).toFixed(1);
  return `chosen without target labels${score}; ${lack} points below ${best.name}`;
}

function causesNote(result: RunRecord["result"]): [string, string, string] {
  const { length } = foundCauses(result);
  if (length > 0) return [String(length), "found by the run itself, see below", "bad"];
  const isJudged = result.stages.some(({ causes }) => causes !== undefined);
  return isJudged ? ["nothing", "that the run itself has found", "good"] : ["–", "not judged", ""];
}

/** Every cause that a run has found, in its own words, and the stages after which it has. */
export function foundCauses(
  { stages, causes: ofData = [] }: RunRecord["result"],
): { readonly sentence: string; readonly after: readonly string[] }[] {
  const found = new Map<string, string[]>();
  for (
    const { name, causes = [] } of [{ name: "looking at the data", causes: ofData }, ...stages]
  ) {
    for (const cause of causes) {
      const sentence = sentenceOf(cause);
      found.set(sentence, [...found.get(sentence) ?? [], name]);
    }
  }
  return [...found].map(([sentence, after]) => ({ sentence, after }));
}

function tile(name: string, value: string, note: string, tone = ""): string {
  return `<div><dt>${escape(name)}</dt><dd class="value ${tone}">${escape(value)}</dd>` +
    `<dd class="note">${escape(note)}</dd></div>`;
}

function facts(run: RunRecord, preset: PresetOfRun): string {
  const { result, config } = run;
  const { seed, pipeline } = config;
  const from = config.base ?? config.init;
  const steps = result.stages.reduce((sum, { steps }) => sum + steps, 0);
  const seconds = result.stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const changed = preset.changed.length;
  const rows: [string, string][] = [
    ["Data", dataFact(run)],
    [
      "Preset",
      changed === 0 ? preset.name : `${preset.name}, with ${count(changed, "setting")} changed`,
    ],
    ["Stages", pipeline.join(" → ") + (from === null ? "" : `, from ${from}`)],
    ["Training", `${steps} steps in ${formatDuration(seconds)}, seed ${seed}`],
    ["Date", run.date],
    ["Version", run.result.version ?? "not recorded"],
    ["Adapter", result.adapter],
    ["Folder", run.path],
  ];
  const items = rows.map(([name, value]) =>
    `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`
  );
  return `<dl class="facts">${items.join("")}</dl>`;
}

function dataFact({ config: { data } }: RunRecord): string {
  const { sourceDirectory, targetDirectory, streets } = data;
  const measured = `measured on ${data.evaluateOn}`;
  if (sourceDirectory !== null && targetDirectory !== null) {
    return `${sourceDirectory} → ${targetDirectory}, long side ${data.longSide} pixels, ${measured}`;
  }
  const { width, height, sourceTrain, targetTrain, targetVal, targetChoose } = streets;
  const held = data.evaluateOn === "val" ? targetVal : targetChoose;
  return `streets ${width}×${height}, seed ${streets.seed}: ${sourceTrain} source and ${targetTrain} ` +
    `target images, ${measured} (${held})`;
}

/** A number of things in words. */
export function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** A score with its unit; a dash where it is not known. */
export function percent(score: number): string {
  return Number.isNaN(score) ? "–" : `${score.toFixed(1)}\u00a0%`;
}
