// The check of a configuration: what each key takes.

import * as v from "valibot";
import { type RunConfig, STAGES } from "./config_types.ts";
import { LAYOUT_NAMES } from "../data/layouts.ts";
import { SELECTIONS } from "../evaluation/selection.ts";

// Each schema's message says what it expects; the error is put together around it.
const number = (expected: string, check: (value: number) => boolean) =>
  v.pipe(
    v.number(expected),
    v.check((value) => Number.isFinite(value) && check(value), expected),
  );
const integerFrom = (least: number) =>
  number(
    `a whole number of at least ${least}`,
    (value) => Number.isSafeInteger(value) && value >= least,
  );
const count = integerFrom(1);
const positive = number("a number above 0", (value) => value > 0);
const toggle = v.boolean("true or false");
const weight = number("a number of at least 0", (value) => value >= 0);
const share = number("a number from 0 to 1", (value) => value >= 0 && value <= 1);
const belowOne = number("a number from 0 to below 1", (value) => value >= 0 && value < 1);
const text = v.pipe(v.string("a path"), v.nonEmpty("a path"));
const folder = v.nullable(text, null);
const oneOf = <const T extends readonly string[]>(names: T) =>
  v.picklist(names, `one of ${names.join(", ")}`);

const stage = {
  steps: count,
  learningRate: positive,
  headFactor: positive,
  momentum: belowOne,
  weightDecay: weight,
  scheduleSteps: count,
  power: weight,
  rampSteps: integerFrom(0),
};

const VARIANTS = ["paper", "official"] as const;

const distil = {
  ...stage,
  threshold: share,
  keep: share,
  beta: weight,
  teacherView: oneOf(["weak", "strong"]),
  formula: oneOf(VARIANTS),
  statistics: oneOf(["both", "target"]),
  studentStart: oneOf(["self-supervised", "supervised", "teacher", "random"]),
  featureNorm: v.boolean("true or false"),
};

/** All of it. */
export const schema: v.GenericSchema<unknown, RunConfig> = v.strictObject({
  seed: integerFrom(0),
  out: text,
  pipeline: v.pipe(
    v.array(oneOf(STAGES), `a list of stages: ${STAGES.join(", ")}`),
    v.check(
      (names) => names.length > 0 && new Set(names).size === names.length,
      "a list of stages, each once",
    ),
  ),
  base: folder,
  init: folder,
  logEvery: count,
  evalEvery: count,
  labelWatch: v.strictObject({ every: integerFrom(0), images: count, pictures: integerFrom(0) }),
  select: oneOf(SELECTIONS),
  checkpointEvery: count,
  network: v.strictObject({
    blocks: v.pipe(
      v.array(count, "four whole numbers"),
      v.length(4, "four whole numbers"),
    ),
    width: count,
    head: oneOf(["proda", "classic"]),
    headChannels: count,
    groups: count,
    dilations: v.pipe(v.array(count, "a list of whole numbers"), v.nonEmpty("at least one number")),
    dropout: belowOne,
  }),
  memory: v.strictObject({
    recompute: toggle,
    accumulate: count,
    activations: oneOf(["f32", "f16"]),
  }),
  data: v.strictObject({
    sourceDirectory: folder,
    sourceLayout: oneOf(LAYOUT_NAMES),
    targetDirectory: folder,
    targetLayout: oneOf(LAYOUT_NAMES),
    classes: v.nullable(
      v.pipe(
        v.array(v.string("a list of class names"), "a list of class names"),
        v.check(
          (names) => names.length > 0 && new Set(names).size === names.length,
          "a list of class names, each once",
        ),
      ),
      null,
    ),
    batch: count,
    cropHeight: integerFrom(16),
    cropWidth: integerFrom(16),
    longSide: integerFrom(16),
    scales: v.pipe(
      v.tuple([positive, positive], "two numbers above 0, the least first"),
      v.check(([least, most]) => least <= most, "two numbers, the least first"),
    ),
    flip: share,
    strongView: oneOf(["simple", "randaugment"]),
    streets: v.strictObject({
      directory: text,
      seed: integerFrom(0),
      width: integerFrom(16),
      height: integerFrom(16),
      sourceTrain: count,
      targetTrain: count,
      targetVal: count,
    }),
  }),
  stages: v.strictObject({
    source: v.strictObject(stage),
    warmup: v.strictObject({
      ...stage,
      adversarialWeight: weight,
      gan: oneOf(["least-squares", "bce"]),
      discriminatorLearningRate: positive,
      discriminatorPlanes: count,
    }),
    stage1: v.strictObject({
      ...stage,
      alpha: weight,
      beta: weight,
      gamma1: weight,
      gamma2: weight,
      temperature: positive,
      softLabels: oneOf(["fixed", "moving"]),
      reweighting: oneOf(["prototypes", "prediction", "none"]),
      labels: oneOf(["hard", "soft"]),
      threshold: share,
      studentView: oneOf(["weak", "strong"]),
      prototypeDecay: share,
      emaDecay: share,
      encoderStatistics: oneOf(["batch", "running"]),
      statistics: oneOf(["both", "target"]),
      normalisation: oneOf(VARIANTS),
      prototypeStart: oneOf(VARIANTS),
      prototypeUpdate: oneOf(VARIANTS),
    }),
    selfsup: v.strictObject({
      ...stage,
      temperature: positive,
      projectionChannels: count,
      places: integerFrom(0),
      weights: folder,
    }),
    stage2: v.strictObject(distil),
    stage3: v.strictObject(distil),
    oracle: v.strictObject(stage),
  }),
});
