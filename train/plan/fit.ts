/**
 * The sizes of a run on a user's own images, from facts: which preset, how large images are shown and
 * cropped, and for how many steps each stage runs. Nothing is measured here.
 *
 * @module
 */
import { formatBytes, MemoryError } from "../../kernels/runtime/mod.ts";
import type { Partially } from "../base/settings.ts";
import { formatDuration } from "../base/text.ts";
import { presetConfig } from "../config/config.ts";
import { type PresetName, PRESETS } from "../config/presets.ts";
import type { RunConfig } from "../config/settings.ts";
import { neededLongSide, partsTooSmall, sentenceOf, STRIDE } from "../evaluation/causes.ts";
import { networkSize } from "../evaluation/image_batches.ts";
import { kindOf, type StageName, STAGES } from "../stages/kinds.ts";
import { type Cost, type Seconds, secondsOf } from "./cost.ts";
import type { Facts } from "./facts.ts";

/** Some of the keys of a configuration. */
export type Values = Partially<RunConfig>;

/** What a run may take. */
export interface Room {
  /** Its time. */
  readonly seconds: number;
  /** How many times as long it may take at most to learn anything at all. */
  readonly stretch: number;
  /** GPU memory in bytes. */
  readonly bytes: number;
}

/** What is asked of the rooms below. */
export interface Means {
  /** The whole configuration that a preset and chosen values come to, under what the user has set. */
  configOf(preset: PresetName, values: Values): RunConfig;
  /** What it costs on the adapter. */
  costOf(config: RunConfig): Promise<Cost>;
}

/** What was chosen. */
export interface Fit {
  readonly preset: PresetName;
  /** Over the preset. */
  readonly values: Values;
  /** Why, a line each. */
  readonly reasons: readonly string[];
  readonly seconds: Seconds;
}

/** A size of training: a preset, or what is changed of one. */
interface Rung {
  readonly preset: PresetName;
  readonly title: string;
  readonly network?: Partial<RunConfig["network"]>;
  /** Share of the preset's steps with which it is better than the rung before. */
  readonly least: number;
  /** At least so many times the arithmetic of the rung before: it need not be priced to know that. */
  readonly dearer: number;
}

/** From the least to the largest. */
const RUNGS: readonly Rung[] = [
  {
    preset: "small",
    title: "small at half its width",
    network: { width: 8, headChannels: 32, groups: 8 },
    least: 0,
    dearer: 1,
  },
  { preset: "small", title: "small", least: 0.8, dearer: 2 },
  { preset: "medium", title: "medium", least: 0.5, dearer: 100 },
  { preset: "full", title: "full", least: 0.5, dearer: 10 },
];

/** Share of the least preset's steps that are worth more time than there is, where it may be stretched. */
const LEAST_SCALE = 0.75;
/** Most share of the time that whole images may take, for labels and scores: less is learnt from the rest. */
const MOST_FOR_IMAGES = 0.35;
/** Most that an image is enlarged by: more adds cost, and nothing to see. */
const MOST_ENLARGED = 2.5;
/** The least long side that saves time where whole images take too much of it. */
const LEAST_LONG_SIDE = 128;
/** Times that a source image is learnt from in the first stage, after which there is little left in it. */
const MOST_EPOCHS = 200;
/** Classes that the presets' steps of supervised training are meant for; more take more of them. */
const USUAL_CLASSES = 4;
const MOST_FOR_CLASSES = 2;
/** Sides of crops and images are multiples of this. */
const GRAIN = 32;

/**
 * Chooses sizes.
 *
 * @param room What the run may take.
 * @throws {MemoryError} If a step of the least cannot run on the device at all.
 */
export async function fit(facts: Facts, room: Room, means: Means): Promise<Fit> {
  let best: Choice | null = null;
  for (const rung of RUNGS) {
    if (best && best.scale < rung.least * rung.dearer) break;
    const choice: Choice | null = await choose(rung, facts, room, means).catch((error) => {
      if (best && error instanceof MemoryError) return null; // no array of it fits
      throw error;
    });
    if (!choice || best && (choice.scale < rung.least || choice.cost.peak > room.bytes)) break;
    best = choice;
  }
  return described(best as Choice, facts, room, means);
}

/** A rung with all that is known of it. */
interface Choice {
  readonly rung: Rung;
  /** What the steps are scaled from. */
  readonly start: RunConfig;
  /** All but the steps. */
  readonly values: Values;
  readonly config: RunConfig;
  readonly cost: Cost;
  /** Seconds that it is to take. */
  readonly seconds: number;
  /** The preset's steps times this fill them. */
  readonly scale: number;
}

async function choose(rung: Rung, facts: Facts, room: Room, means: Means): Promise<Choice> {
  const { network, preset } = rung;
  const start = startFor(preset, facts);
  const { stages } = scaledSteps(start, 1);
  let { evalEvery } = start;
  const priced = async (memory: Values["memory"], longSide = shownAt(preset, facts)) => {
    const data = { longSide, ...cropOf(preset, facts, longSide) };
    const values: Values = { data, memory, evalEvery, stages, ...(network && { network }) };
    const config = means.configOf(preset, values);
    return { values, config, cost: await means.costOf(config) };
  };
  const saving = [
    undefined,
    { recompute: true },
    { recompute: true, accumulate: PRESETS[preset].data.batch },
  ];
  let found = await priced(undefined);
  let memory: Values["memory"];
  for (memory of saving) {
    if (memory) found = await priced(memory);
    if (found.cost.peak <= room.bytes) break;
  }
  const wanted = secondsOf(found.config, found.cost, facts);
  const needed = freeSeconds(start, found).free * LEAST_SCALE / (1 - MOST_FOR_IMAGES) +
    wanted.rest;
  const seconds = rung.least > 0
    ? room.seconds
    : Math.min(room.seconds * room.stretch, Math.max(room.seconds, needed));
  const shareOfImages = () => secondsOf(found.config, found.cost, facts).images / seconds;
  if (shareOfImages() > MOST_FOR_IMAGES) {
    // Measured at the end of stages alone, and then smaller: whole images cost as their area.
    evalEvery = Math.max(...Object.values(start.stages).map(({ steps }) => steps));
    found = await priced(memory);
    for (let trial = 0; trial < 3 && shareOfImages() > MOST_FOR_IMAGES; trial++) {
      const { longSide } = found.config.data;
      const smaller = longSide * Math.sqrt(MOST_FOR_IMAGES / shareOfImages());
      const least = Math.min(longSide, LEAST_LONG_SIDE);
      found = await priced(memory, Math.max(least, GRAIN * Math.floor(smaller / GRAIN)));
    }
  }
  const { images, rest } = secondsOf(found.config, found.cost, facts);
  const { free, fixed } = freeSeconds(start, found);
  return {
    ...found,
    rung,
    start,
    seconds,
    scale: Math.max(0, seconds - images - rest - fixed) / free,
  };
}

/**
 * The seconds of a preset's steps whose number is free, and of those whose number a user has set; where all
 * are set, a preset is chosen as if none were.
 */
function freeSeconds(
  start: RunConfig,
  { config: { pipeline, stages }, cost: { step } }: Pick<Choice, "config" | "cost">,
): { free: number; fixed: number } {
  const isFree = (name: StageName) => stages[name].steps === start.stages[name].steps;
  const all = pipeline.some(isFree) ? isFree : () => true;
  const seconds = (names: readonly StageName[]) =>
    names.reduce((sum, name) => sum + start.stages[name].steps * (step[name] ?? 0), 0);
  return {
    free: seconds(pipeline.filter(all)),
    fixed: pipeline.filter((name) => !all(name))
      .reduce((sum, name) => sum + stages[name].steps * (step[name] ?? 0), 0),
  };
}

/** A preset with more steps for stages that learn from labels alone, where there are many classes. */
function startFor(preset: PresetName, { classes }: Facts): RunConfig {
  const config = presetConfig(preset);
  const ratio = Math.sqrt(classes.length / USUAL_CLASSES);
  const more = scaledSteps(config, Math.min(MOST_FOR_CLASSES, Math.max(1, ratio))).stages;
  for (const name of STAGES) {
    if ("balance" in kindOf(name).settings) Object.assign(config.stages[name], more?.[name]);
  }
  return config;
}

/** The long side at which the smallest parts are two features large, between the preset's and the most. */
function shownAt(preset: PresetName, { partSizes, size }: Facts): number {
  const own = Math.max(size.height, size.width);
  const usual = Math.min(PRESETS[preset].data.longSide, inGrains(own));
  const shares = partSizes.filter((share) => share !== null);
  const needed = Math.max(0, ...shares.map(neededLongSide));
  return Math.max(usual, Math.min(needed, inGrains(MOST_ENLARGED * own)));
}

/** A crop of the preset's area in the shape of the images, no larger than they are shown. */
function cropOf(
  preset: PresetName,
  { size }: Facts,
  longSide: number,
): { cropHeight: number; cropWidth: number } {
  const { cropHeight, cropWidth } = PRESETS[preset].data;
  const shown = networkSize(size, longSide);
  const shape = Math.min(2, Math.max(0.5, shown.width / shown.height));
  const height = Math.sqrt(cropHeight * cropWidth / shape);
  const within = (side: number, most: number) =>
    Math.max(GRAIN, Math.min(GRAIN * Math.round(side / GRAIN), inGrains(most)));
  return {
    cropHeight: within(height, shown.height),
    cropWidth: within(height * shape, shown.width),
  };
}

/** A length as a multiple of the grain, the next larger one. */
function inGrains(length: number): number {
  return GRAIN * Math.ceil(length / GRAIN);
}

/** The values of a choice with the steps that fill the time, and why all of it. */
function described(
  { rung, start, values, config, cost, seconds: wanted, scale }: Choice,
  facts: Facts,
  room: Room,
  means: Means,
): Fit {
  const { batch } = config.data;
  const { preset } = rung;
  const first = start.stages[config.pipeline[0]];
  const most = Math.max(1, MOST_EPOCHS * facts.source / (batch * first.steps));
  const { evalEvery = start.evalEvery } = values;
  const steps = scaledSteps({ ...start, evalEvery }, Math.min(scale, most));
  const all: Values = { ...values, ...steps };
  const whole = means.configOf(preset, all);
  const seconds = secondsOf(whole, cost, facts);
  const reasons = [
    reasonOfSize(facts, whole.data),
    ...reasonsOfSteps(facts, whole, scale, most),
    `time: ${formatDuration(seconds.steps)} of steps, ${formatDuration(seconds.images)} of whole ` +
    `images for labels and scores, ${formatDuration(total(seconds))} with all else` +
    (wanted > room.seconds ? ", as fewer steps would learn too little" : ""),
  ];
  const { recompute, accumulate } = whole.memory;
  if (values.memory) {
    reasons.push(
      `memory: recomputation ${
        recompute ? "on" : "off"
      }, batches in ${accumulate} parts, so that ` +
        `${formatBytes(cost.peak)} are within ${formatBytes(room.bytes)}`,
    );
  }
  return {
    preset,
    values: all,
    reasons: [`chosen for your data: preset ${rung.title}`, ...reasons],
    seconds,
  };
}

function reasonOfSize(
  { classes, partSizes, size }: Facts,
  { longSide, cropHeight, cropWidth }: RunConfig["data"],
): string {
  const own = Math.max(size.height, size.width);
  const shown = networkSize(size, longSide);
  const features = networkSize(shown, Math.ceil(longSide / STRIDE));
  const tooSmall = partsTooSmall(classes, partSizes, longSide);
  const wouldBe = partsTooSmall(classes, partSizes, Math.min(own, longSide - 1));
  const why = tooSmall
    ? `. ${sentenceOf(tooSmall)}`
    : wouldBe && longSide > own
    ? `, larger than they are, as the parts of some classes would else be smaller than two features`
    : "";
  return `images of ${size.width}×${size.height} are shown at ${shown.width}×${shown.height}, which ` +
    `gives ${features.width}×${features.height} features, in crops of ${cropWidth}×${cropHeight}${why}`;
}

function reasonsOfSteps(
  { source }: Facts,
  { data: { batch }, pipeline, stages }: RunConfig,
  scale: number,
  most: number,
): string[] {
  const counts = pipeline.map((name) => `${name} ${stages[name].steps}`).join(", ");
  const epochs = stages[pipeline[0]].steps * batch / source;
  const times = epochs < 10 ? epochs.toPrecision(2) : Math.round(epochs);
  const limit = scale > most ? `, as many as ${source} images have something in` : "";
  const lines = [
    `steps: ${counts}; the first go ${times} times through ${source} images${limit}`,
  ];
  if (scale < LEAST_SCALE / 2) {
    lines.push("these are few steps to learn from: it may take more time than there is");
  }
  return lines;
}

/** All of the seconds. */
export function total({ steps, images, rest }: Seconds): number {
  return steps + images + rest;
}

/**
 * The steps of a configuration times a factor, each schedule stretched or shrunk with its stage; there are
 * as many evaluations as before.
 */
export function scaledSteps(config: RunConfig, factor: number): Values {
  const times = (count: number) => Math.max(1, Math.round(count * factor));
  const stages = STAGES.map((name) => {
    const { steps, scheduleSteps, rampSteps } = config.stages[name];
    const sizes = { steps: times(steps), scheduleSteps: times(scheduleSteps) };
    return [name, { ...sizes, rampSteps: Math.min(rampSteps, Math.round(rampSteps * factor)) }];
  });
  return {
    evalEvery: times(config.evalEvery),
    logEvery: Math.max(1, Math.min(config.logEvery, times(config.logEvery * 4))),
    stages: Object.fromEntries(stages),
  };
}
