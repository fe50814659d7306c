// The check of a configuration: what each kind of setting takes, and the words in which an error says so.

import * as v from "valibot";
import { MOST, type Setting, type SettingKinds, type SettingTable } from "../base/settings.ts";
import { STAGE_SETTINGS } from "../stages/common/settings.ts";
import { kindOf, STAGES } from "../stages/kinds.ts";
import { RUN_SETTINGS, type RunConfig } from "./settings.ts";

// Each schema's message says what it expects; the error is put together around it.
const number = (expected: string, check: (value: number) => boolean) =>
  v.pipe(
    v.number(expected),
    v.check((value) => Number.isFinite(value) && check(value), expected),
  );
const integerFrom = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  number(
    most < Number.MAX_SAFE_INTEGER
      ? `a whole number from ${least} to ${most}`
      : `a whole number of at least ${least}`,
    (value) => Number.isSafeInteger(value) && value >= least && value <= most,
  );
const count = integerFrom(1);
const positive = number("a number above 0", (value) => value > 0);
const scale = number(
  `a number above 0 and at most ${MOST.scale}`,
  (value) => value > 0 && value <= MOST.scale,
);
const path = v.pipe(v.string("a path"), v.nonEmpty("a path"));
const oneOf = (words: readonly string[]) => v.picklist(words, `one of ${words.join(", ")}`);
const eachOnce = (names: string[]) => names.length > 0 && new Set(names).size === names.length;

const SCHEMAS: { readonly [K in keyof SettingKinds]: v.GenericSchema<unknown, SettingKinds[K]> } = {
  count,
  whole: integerFrom(0),
  images: integerFrom(1, MOST.images),
  pixels: integerFrom(16, MOST.pixels),
  positive,
  weight: number("a number of at least 0", (value) => value >= 0),
  share: number("a number from 0 to 1", (value) => value >= 0 && value <= 1),
  belowOne: number("a number from 0 to below 1", (value) => value >= 0 && value < 1),
  toggle: v.boolean("true or false"),
  path,
  optionalPath: v.nullable(path, null),
  counts: v.pipe(v.array(count, "a list of whole numbers"), v.nonEmpty("at least one number")),
  fourCounts: v.pipe(
    v.array(integerFrom(1, MOST.blocks), "four whole numbers"),
    v.length(4, "four whole numbers"),
  ),
  range: v.pipe(
    v.tuple([scale, scale], `two numbers above 0 and at most ${MOST.scale}, the least first`),
    v.check(([least, most]) => least <= most, "two numbers, the least first"),
  ),
  optionalNames: v.nullable(
    v.pipe(
      v.array(v.string("a list of class names"), "a list of class names"),
      v.check(eachOnce, "a list of class names, each once"),
    ),
    null,
  ),
};

const pipeline = v.pipe(
  v.array(oneOf(STAGES), `a list of stages: ${STAGES.join(", ")}`),
  v.check(eachOnce, "a list of stages, each once"),
);

function schemaOf(setting: Setting | SettingTable): v.GenericSchema {
  if (typeof setting === "string") return SCHEMAS[setting];
  return Array.isArray(setting)
    ? oneOf(setting)
    : v.strictObject(entriesOf(setting as SettingTable));
}

function entriesOf(table: SettingTable): Record<string, v.GenericSchema> {
  return Object.fromEntries(
    Object.entries(table).map(([name, setting]) => [name, schemaOf(setting)]),
  );
}

/** All of a configuration. */
export const schema = v.strictObject({
  ...entriesOf(RUN_SETTINGS),
  pipeline,
  stages: v.strictObject(Object.fromEntries(
    STAGES.map((name) => [name, schemaOf({ ...STAGE_SETTINGS, ...kindOf(name).settings })]),
  )),
}) as unknown as v.GenericSchema<unknown, RunConfig>; // the type that the same tables make
