// The flags of `train`, and the configuration that they stand for.

import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { DataError } from "../train/base/data_error.ts";
import {
  type ConfigLayer,
  loadConfigFile,
  mergeConfig,
  presetConfig,
  readConfigFile,
  withSteps,
} from "../train/config/config.ts";
import { cutPipeline, weightsInstead, withPretraining } from "../train/config/pipeline.ts";
import type { PresetName } from "../train/config/presets.ts";
import { fromPretrained, recipe, valueAt } from "../train/config/recipes.ts";
import type { RunConfig } from "../train/config/settings.ts";
import type { Layout } from "../train/data/layouts.ts";
import { type Cause, partsTooSmall, sentenceOf } from "../train/evaluation/causes.ts";
import type { Selection } from "../train/evaluation/selection.ts";
import { shippedNetworks } from "../train/networks/shipped.ts";
import { chooseSizes, stepsForTime } from "../train/plan/choose.ts";
import { type Facts, factsOf } from "../train/plan/facts.ts";
import type { Values } from "../train/plan/fit.ts";
import { readRunConfig, runConfigOf } from "../train/run/run_config.ts";
import type { Variant } from "../train/stages/common/settings.ts";
import { type StageName, STAGES } from "../train/stages/kinds.ts";
import type { DeviceOptions } from "./device.ts";
import type { MpiFlags } from "./mpi_options.ts";
import { CONFIG_KEYS } from "./options.ts";

/** The flags of `train`, as commander gives them. */
export interface TrainFlags extends Omit<DeviceOptions, "autotune" | "peers">, MpiFlags {
  source?: string | undefined;
  sourceLayout?: Layout | undefined;
  target?: string | undefined;
  targetLayout?: Layout | undefined;
  classes?: string[] | undefined;
  split?: RunConfig["data"]["evaluateOn"] | undefined;
  preset?: PresetName | undefined;
  recipe?: Variant | undefined;
  config?: string[] | undefined;
  stages?: StageName[] | undefined;
  until?: StageName | undefined;
  from?: StageName | undefined;
  base?: string | undefined;
  resume?: string | undefined;
  acceptChangedData?: boolean | undefined;
  keepGoing?: boolean | undefined;
  select?: Selection | undefined;
  init?: string | undefined;
  studentInit?: string | undefined;
  steps?: number | undefined;
  time?: number | undefined;
  seed?: number | undefined;
  out?: string | undefined;
  dryRun?: boolean | undefined;
  recompute?: boolean | undefined;
  accumulate?: number | undefined;
  autotune?: string | boolean | undefined;
  tensorboard?: boolean | undefined;
  json?: boolean | undefined;
}

/**
 * Flags that go with --resume: they change nothing of what is trained, but for data that have changed, and
 * last bits where kernels are to be tuned again.
 */
const FREE_WITH_RESUME: readonly string[] = [
  "resume",
  "acceptChangedData",
  "keepGoing",
  "json",
  "tensorboard",
  "profile",
  "memoryBudget",
  "kernels",
  "autotune",
  "dryRun",
  "mpi",
  "adapters",
  "shareAdapter",
  "collectiveTimeout",
] satisfies (keyof TrainFlags)[];

/** A configuration, and what it was put together from. */
export interface ResolvedConfig {
  readonly config: RunConfig;
  /** What a message calls the preset. */
  readonly preset: string;
  /** What was laid over it, later layers over earlier ones. */
  readonly layers: readonly ConfigLayer[];
  /** Whether source and target are folders of the user's. */
  readonly hasOwnData: boolean;
  /** What was chosen and why, a line each; none where nothing was. */
  readonly reasons?: readonly string[];
  /** What is wrong with the data, which the reasons say too. */
  readonly causes?: readonly Cause[];
}

/** The configuration that flags stand for: preset, then base, config files, recipe and flags. */
export async function resolveConfig(flags: TrainFlags, now: Date): Promise<RunConfig> {
  return (await resolveLayers(flags, now)).config;
}

/** {@link resolveConfig}, with what the configuration was put together from. */
export async function resolveLayers(flags: TrainFlags, now: Date): Promise<ResolvedConfig> {
  if ((flags.from === undefined) !== (flags.base === undefined)) {
    throw new DataError(
      "Cannot start in the middle as --from and --base need each other: expected the stage to start " +
        "with, and the folder of the run that has done those before it; give both",
    );
  }
  if (flags.steps !== undefined && flags.time !== undefined) {
    throw new DataError(
      "Cannot take both --steps and --time as each says how long the stages are: expected one of them; " +
        "leave the other out",
    );
  }
  if (flags.acceptChangedData) {
    throw new DataError(
      "Cannot accept changed data as no run goes on: expected --accept-changed-data beside --resume; " +
        "leave it out",
    );
  }
  const layers = [
    ...layerOfBase(flags),
    ...await Promise.all((flags.config ?? []).map(layerOfFile)),
    ...layerOfRecipe(flags),
    { values: keysOf(flags), from: "the flags" },
  ];
  return assemble(flags, now, flags.preset ?? "default", layers);
}

/** Lays layers over a preset, and cuts and stretches what they come to as the flags say. */
function assemble(
  flags: TrainFlags,
  now: Date,
  name: PresetName,
  layers: readonly ConfigLayer[],
): ResolvedConfig {
  const hasOwnData = mergeConfig(presetConfig(name), ...layers).data.sourceDirectory !== null;
  const out = folderFor(flags, hasOwnData, now);
  const merged = mergeConfig({ ...presetConfig(name), out }, ...layers);
  const hasWeights = STAGES.some((name) => weightsInstead(name, merged) !== null);
  // Of a run that goes on from another, that one may have done the pre-training.
  const whole = hasWeights || flags.base === undefined ? withPretraining(merged) : merged;
  const cut = cutPipeline(whole, flags);
  const sized = name === "full" ? onPhotographs(cut, flags) : cut;
  const config = flags.steps === undefined ? sized : withSteps(sized, flags.steps);
  return { config, preset: `preset ${name}`, layers, hasOwnData };
}

/** Whether a preset, sizes or steps are left to be chosen for the data. */
function leavesSizes({ preset, base, steps }: TrainFlags, resolved: ResolvedConfig): boolean {
  const { config, layers, hasOwnData } = resolved;
  if (!hasOwnData || preset !== undefined || base !== undefined) return false;
  const sizes = ["data.longSide", "data.cropHeight", "data.cropWidth"];
  const lengths = steps === undefined ? config.pipeline.map((name) => `stages.${name}.steps`) : [];
  const isSet = (key: string) => layers.some(({ values }) => valueAt(values, key) !== undefined);
  return ![...sizes, ...lengths].every(isSet);
}

/**
 * The configuration with what the flags leave to be chosen for the user's own images on this adapter, and
 * with the steps that fill the time that the flags give.
 *
 * @throws {DataError} If a data set cannot be used.
 */
export async function withChosenSizes(
  gpu: Gpu,
  flags: TrainFlags,
  now: Date,
  resolved: ResolvedConfig,
  signal?: AbortSignal,
): Promise<ResolvedConfig> {
  if (flags.resume !== undefined) return resolved;
  const { config, layers, hasOwnData } = resolved;
  const { time } = flags;
  if (leavesSizes(flags, resolved)) {
    const facts = await factsOf(config.data, signal);
    const over = (preset: PresetName, values: Values) =>
      assemble(flags, now, preset, [{ values, from: "what was chosen for the data" }, ...layers]);
    const { preset, values, reasons } = await chooseSizes(
      gpu,
      facts,
      time,
      (preset, values) => over(preset, values).config,
    );
    const chosen = over(preset, values);
    return { ...chosen, reasons, causes: causesIn(facts, chosen.config) };
  }
  if (!hasOwnData && time === undefined) return resolved;
  const facts = await factsOf(config.data, signal).catch((error) => {
    if (time === undefined && error instanceof DataError) return null; // the run itself will say so
    throw error;
  });
  if (facts === null) return resolved;
  const causes = causesIn(facts, config);
  const reasons = causes.map(sentenceOf);
  if (time === undefined) return { ...resolved, reasons, causes };
  const { values, reason } = await stepsForTime(gpu, config, facts, time);
  const layer = { values, from: "--time" };
  return {
    ...resolved,
    config: mergeConfig(config, layer),
    layers: [...layers, layer],
    reasons: [...reasons, reason],
    causes,
  };
}

/** What is wrong with data that are shown at the sizes of a configuration. */
function causesIn({ classes, partSizes }: Facts, { data: { longSide } }: RunConfig): Cause[] {
  const cause = partsTooSmall(classes, partSizes, longSide);
  return cause ? [cause] : [];
}

/**
 * {@link resolveLayers} of a training: on streets the quick preset starts from the source-only network that
 * comes with the project, in place of the stage that would train one, where nothing else is said.
 */
export async function resolveTraining(flags: TrainFlags, now: Date): Promise<ResolvedConfig> {
  const resolved = await resolveLayers(flags, now);
  const { config, layers } = resolved;
  const isSaid = layers.some(({ values }) =>
    ["init", "pipeline", "base"].some((key) =>
      (values as Record<string, unknown>)[key] !== undefined
    )
  );
  const { initialisation } = config.network;
  const network = { ...presetConfig("quick").network, initialisation };
  const [first, ...others] = config.pipeline;
  if (
    flags.preset !== "quick" || isSaid || config.data.sourceDirectory !== null ||
    others.length === 0 || !isDeepStrictEqual(config.network, network)
  ) return resolved;
  const [{ path: init, stage }] = shippedNetworks();
  return stage === first
    ? { ...resolved, config: { ...config, init, pipeline: others } }
    : resolved;
}

/** The configuration of the run to go on from, but for what every run has of its own. */
function layerOfBase({ base }: TrainFlags): ConfigLayer[] {
  if (base === undefined) return [];
  const { values, from } = layerOfRun(base);
  return [{ values: { ...values as object, out: undefined, pipeline: undefined }, from }];
}

function layerOfRecipe({ recipe: variant }: TrainFlags): ConfigLayer[] {
  return variant === undefined ? [] : [{ values: recipe(variant), from: `recipe ${variant}` }];
}

/** The configuration of the run in a folder. */
function layerOfRun(folder: string): ConfigLayer {
  const path = join(folder, "config.json");
  const values = readConfigFile(path);
  runConfigOf(values, path); // all of it, or presets would stand in
  return { values, from: path };
}

async function layerOfFile(path: string): Promise<ConfigLayer> {
  return { values: await loadConfigFile(path), from: `config file ${path}` };
}

/** The keys that flags set, in the nesting of a configuration. */
function keysOf(flags: TrainFlags): Record<string, unknown> {
  const { studentInit, recipe } = flags;
  const values = studentInit === undefined ? {} : fromPretrained(studentInit, recipe);
  for (const [flag, key] of Object.entries(CONFIG_KEYS)) {
    const path = key.split(".");
    const last = path.pop() as string;
    let section: Record<string, unknown> = values;
    for (const name of path) section = (section[name] ??= {}) as Record<string, unknown>;
    section[last] = flags[flag as keyof typeof CONFIG_KEYS];
  }
  return values;
}

/** Refuses to run on the built-in benchmark; a plan, which reads no images, takes the paper's. */
function onPhotographs(config: RunConfig, { dryRun }: TrainFlags): RunConfig {
  const { data } = config;
  if (data.sourceDirectory !== null) return config;
  if (!dryRun) {
    throw new DataError(
      "Cannot run preset full on the built-in benchmark as it is sized for photographs and days of " +
        "GPU time: give --source and --target, or leave --preset out",
    );
  }
  const { sourceLayout, targetLayout } = data;
  const folders = { sourceDirectory: sourceLayout, targetDirectory: targetLayout };
  return { ...config, data: { ...data, ...folders } };
}

/** The folder of a run where nothing names one: by its preset, or `own` where sizes are chosen for images. */
function folderFor({ preset }: TrainFlags, hasOwnData: boolean, now: Date): string {
  return defaultFolder(preset ?? (hasOwnData ? "own" : "default"), now);
}

/** Whether a configuration's folder is named by the second in which the run starts. */
export function isNamedByTime(
  flags: TrainFlags,
  { config: { out }, hasOwnData }: Pick<ResolvedConfig, "config" | "hasOwnData">,
  now: Date,
): boolean {
  return out === folderFor(flags, hasOwnData, now);
}

/** `runs/quick-20260131-235959`, in local time: sorts by time and is free for every run. */
export function defaultFolder(preset: string, now: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const time = `${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
  return `runs/${preset}-${date}-${time}`;
}

/** The configuration of a run to go on with. */
export function resumedConfig(flags: TrainFlags, out: string): ResolvedConfig {
  const [fixed] = Object.keys(flags).filter((name) => !FREE_WITH_RESUME.includes(name));
  if (fixed !== undefined) {
    const flag = `--${fixed.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new DataError(
      `Cannot resume ${out} with ${flag} as its config.json decides everything: expected --resume ` +
        `alone; leave ${flag} out, or start a new run`,
    );
  }
  const config = { ...readRunConfig(out), out };
  const layer = { values: config, from: join(out, "config.json") };
  const hasOwnData = config.data.sourceDirectory !== null;
  return { config, preset: "preset default", layers: [layer], hasOwnData };
}
