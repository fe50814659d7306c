/**
 * The one typed configuration of a run: its sections, the presets, and the check of what a user
 * writes. Flags of the command line are a way to set a few of these keys; `config.json` of a run
 * folder holds them all.
 *
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import * as v from "valibot";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { nearest } from "../base/nearest.ts";
import { kindOf } from "../stages/kinds.ts";
import { type PresetName, PRESETS } from "./presets.ts";
import { schema } from "./schema.ts";
import type { RunConfig } from "./settings.ts";

/** A fresh copy of a preset. */
export function presetConfig(name: PresetName): RunConfig {
  return structuredClone(PRESETS[name]);
}

/** Some keys of a configuration and where they come from, for errors: `config file my.json`. */
export interface ConfigLayer {
  /** The keys to set, in the nesting of {@link RunConfig}; lists are replaced whole. */
  readonly values: unknown;
  /** What a message calls their origin. */
  readonly from: string;
}

/**
 * Sets keys of a configuration, later layers over earlier ones, and checks the result.
 *
 * @param base A complete configuration, such as a preset; it stays as it is.
 * @throws {DataError} If a key is unknown, a value is not what the key takes, or two values do not
 * go together.
 */
export function mergeConfig(base: RunConfig, ...layers: readonly ConfigLayer[]): RunConfig {
  let config = base;
  for (const { values, from } of layers) {
    const result = v.safeParse(schema, merge(config, values, [], from));
    if (!result.success) {
      const issue = result.issues[0];
      throw new DataError(
        `Cannot use ${from} as ${v.getDotPath(issue) ?? "it"} is ${shown(issue.input)}: expected ` +
          `${issue.message}; correct it`,
      );
    }
    config = result.output;
  }
  checkTogether(config);
  return structuredClone(config);
}

/**
 * Reads a configuration file: a JSON object with any of the keys of {@link RunConfig}.
 *
 * @throws {DataError} If the file cannot be read or is no JSON.
 */
export function readConfigFile(path: string): unknown {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    const reason = error instanceof SyntaxError
      ? `it is not JSON (${error.message})`
      : describeFailure(error);
    throw new DataError(
      `Cannot read config file ${path} as ${reason}: expected an object such as ` +
        `{ "seed": 1, "data": { "batch": 2 } }; correct the file or its path`,
      { cause: error },
    );
  }
}

/**
 * Loads a configuration file as {@link readConfigFile}, or runs a TypeScript module whose default export
 * is such an object.
 *
 * @throws {DataError} If the file cannot be read, or is of another kind; one that the module throws
 * is passed on.
 */
export async function loadConfigFile(path: string): Promise<unknown> {
  if (!path.endsWith(".ts")) return readConfigFile(path);
  const loaded = await import(pathToFileURL(resolve(path)).href).catch((error) => {
    if (error instanceof DataError) throw error; // it says itself what it lacks
    const [reason] = describeFailure(error).split("\n");
    throw new DataError(
      `Cannot run config file ${path} as ${reason}: expected a TypeScript module; ` +
        `correct the file or its path`,
      { cause: error },
    );
  });
  if (loaded.default === undefined) {
    throw new DataError(
      `Cannot use config file ${path} as it exports no default: expected ` +
        `export default { seed: 1, data: { batch: 2 } }; add it`,
    );
  }
  return loaded.default;
}

/**
 * Sets the number of steps of every stage; each schedule is stretched or shrunk with its stage, so
 * that the learning rate falls to the same share.
 */
export function withSteps(config: RunConfig, steps: number): RunConfig {
  const copy = structuredClone(config);
  for (const stage of Object.values(copy.stages)) {
    const scaled = (count: number) => Math.round(count * steps / stage.steps);
    stage.scheduleSteps = Math.max(1, scaled(stage.scheduleSteps));
    stage.rampSteps = scaled(stage.rampSteps);
    stage.steps = steps;
  }
  copy.logEvery = Math.min(copy.logEvery, Math.max(1, Math.ceil(steps / 10)));
  return copy;
}

function merge(base: unknown, values: unknown, path: string[], from: string): unknown {
  if (!isObject(base)) return values;
  if (!isObject(values)) {
    throw new DataError(
      `Cannot use ${from} as ${path.join(".") || "it"} is ${shown(values)}: expected an object ` +
        `with any of the keys ${Object.keys(base).join(", ")}; correct it`,
    );
  }
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(base, key)) throw unknownKey(key, Object.keys(base), path, from);
    merged[key] = merge(base[key], value, [...path, key], from);
  }
  return merged;
}

function unknownKey(key: string, known: string[], path: string[], from: string): DataError {
  const full = (name: string) => [...path, name].join(".");
  const meant = nearest(key, known);
  return new DataError(
    `Cannot use ${from} as key ${full(key)} is unknown: ` +
      (meant === null
        ? `expected one of ${known.join(", ")}; remove or rename it`
        : `did you mean ${full(meant)}?`),
  );
}

function checkTogether({ network, memory, data, pipeline }: RunConfig): void {
  const fail = (reason: string, options: readonly string[] = []) => {
    throw new DataError(`Cannot use this configuration as ${reason}`, { options });
  };
  if (network.head === "proda" && network.headChannels % network.groups !== 0) {
    fail(
      `network.groups is ${network.groups}: expected a divisor of network.headChannels, ` +
        `${network.headChannels}; change one of them`,
    );
  }
  if (data.batch % memory.accumulate !== 0) {
    fail(
      `memory.accumulate is ${memory.accumulate}: expected a divisor of data.batch, ${data.batch}; ` +
        "change one of them",
      ["memory.accumulate"],
    );
  }
  if ((data.sourceDirectory === null) !== (data.targetDirectory === null)) {
    const missing = data.sourceDirectory === null ? "sourceDirectory" : "targetDirectory";
    fail(
      `only one domain has a folder: expected folders of both, or of neither for the built-in ` +
        `benchmark; set data.${missing} too`,
      [`data.${missing}`],
    );
  }
  const reference = pipeline.find((name) => kindOf(name).role === "reference");
  if (reference && pipeline.length > 1) {
    fail(`pipeline names ${reference} beside other stages: expected it alone; make two runs`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? "missing";
  return json.length > 60 ? `${json.slice(0, 57)}…` : json;
}
