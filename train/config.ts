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
import { DataError, describeFailure } from "./data_error.ts";
import { type Layout, LAYOUTS } from "./dataset.ts";
import type { Variant } from "./losses.ts";
import { nearest } from "./nearest.ts";
import { type PresetName, PRESETS } from "./presets.ts";
import { type Selection, SELECTIONS } from "./selection.ts";

export { type PresetName, PRESETS };

/** The network of every stage: DeepLabv2 with a bottleneck ResNet. */
export interface NetworkConfig {
  /** Bottleneck blocks of the four layers; ResNet-101 is 3, 4, 23, 3. */
  blocks: number[];
  /** Channels of the stem; 64 in ResNet-101. */
  width: number;
  /** `proda` has features to denoise by and is what stage 1 needs; `classic` is plain DeepLabv2. */
  head: "proda" | "classic";
  /** Channels of the features that the prototypes live in. */
  headChannels: number;
  /** Groups of the head's group norms; they divide `headChannels`. */
  groups: number;
  /** Dilations of the head's 3×3 branches. */
  dilations: number[];
  /** Share of feature channels that dropout zeroes. */
  dropout: number;
}

/** What is given up for less GPU memory. */
export interface MemoryConfig {
  /** Whether blocks run again in the backward instead of keeping activations; the same bits, slower. */
  recompute: boolean;
  /**
   * Parts in which a step learns its batch; they divide `data.batch`. Losses and gradients are those of
   * the batch, batch norms take the statistics of a part. Self-supervised pre-training compares all images
   * of a batch, and takes it whole.
   */
  accumulate: number;
  /** How activations are kept for the backward: as they are, or in half the bytes and 11 bits. */
  activations: "f32" | "f16";
}

/** Where images come from and how they are cut. */
export interface DataConfig {
  /** Folder of the labelled source images; null for the built-in benchmark, streets. */
  sourceDirectory: string | null;
  /** How the source's files lie in it. */
  sourceLayout: Layout;
  /** Folder of the target images; null for the built-in benchmark, streets. */
  targetDirectory: string | null;
  /** How the target's files lie in it. */
  targetLayout: Layout;
  /**
   * Names of the classes to train, or one of `19`, `16` and `13` for those that results on Cityscapes are
   * published for; null for those that the data sets have. The built-in benchmark has its own.
   */
  classes: string[] | null;
  /** Images of each domain in a step. */
  batch: number;
  /** Height of a training crop in pixels. */
  cropHeight: number;
  /** Width of a training crop in pixels. */
  cropWidth: number;
  /** Length in pixels that an image's long side is resized to at scale 1. */
  longSide: number;
  /** Range that the random scale of a crop is drawn from, evenly. */
  scales: [least: number, most: number];
  /** Chance of a horizontal flip. */
  flip: number;
  /**
   * What the strong view does to the weak one: `randaugment` is the published pool of fourteen
   * operations, in 8 bits on the decoding threads; `simple` is gentler, and made on the GPU.
   */
  strongView: "simple" | "randaugment";
  /** Size of the built-in benchmark, where it is used. */
  streets: StreetsConfig;
}

/** The built-in benchmark, written as PNG files where no folders are given. */
export interface StreetsConfig {
  /** Folder that it is written to, and reused from. */
  directory: string;
  /** Seed of the images; the run's own seed leaves them as they are. */
  seed: number;
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
  /** Labelled source images. */
  sourceTrain: number;
  /** Target images to adapt to. */
  targetTrain: number;
  /** Target images to measure on. */
  targetVal: number;
}

/** What every stage sets: its length and its SGD with a polynomial schedule. */
export interface StageConfig {
  /** Optimiser updates. */
  steps: number;
  /** Learning rate of the backbone at the first step. */
  learningRate: number;
  /** The head's learning rate over the backbone's. */
  headFactor: number;
  /** Momentum of SGD. */
  momentum: number;
  /** L2 penalty of SGD. */
  weightDecay: number;
  /** Step at which the learning rate would reach zero. */
  scheduleSteps: number;
  /** Power of the schedule. */
  power: number;
  /** Steps over which the learning rate first rises linearly; 0 for none. */
  rampSteps: number;
}

/** Adversarial warm-up in the output space. */
export interface WarmUpConfig extends StageConfig {
  /** Weight of the adversarial loss. */
  adversarialWeight: number;
  /** The adversarial loss. */
  gan: "least-squares" | "bce";
  /** Adam's learning rate for the discriminator. */
  discriminatorLearningRate: number;
  /** Channels of the discriminator's first convolution. */
  discriminatorPlanes: number;
}

/** Stage 1: denoised pseudo labels and target structure. Equations are the paper's. */
export interface Stage1Config extends StageConfig {
  /** Weight of cross entropy in the symmetric loss, α (eq. 6). */
  alpha: number;
  /** Weight of reverse cross entropy, β (eq. 6). */
  beta: number;
  /** Weight of the structure loss, γ1 (eq. 11). */
  gamma1: number;
  /** Weight of the regulariser, γ2 (eq. 11). */
  gamma2: number;
  /** Temperature of the prototype assignments, τ (eq. 3, 7 and 8). */
  temperature: number;
  /** What the prototypes weigh: p_{t,0}, fixed for the stage (paper), or the encoder's prediction of now. */
  softLabels: "fixed" | "moving";
  /** Weights of the soft labels: nearness to prototypes (paper), the encoder's own prediction, or none. */
  reweighting: "prototypes" | "prediction" | "none";
  /** Denoised labels: the most likely class (paper), or probabilities of all classes. */
  labels: "hard" | "soft";
  /** Pixels whose denoised label is less sure have none; 0 in the paper. */
  threshold: number;
  /** The view on which the labels are learnt: strong, or weak as in the released code's stage 1. */
  studentView: "weak" | "strong";
  /** Weight of a prototype's old value, λ (eq. 5). */
  prototypeDecay: number;
  /** Weight of the momentum encoder's old value. */
  emaDecay: number;
  /** What the momentum encoder's batch norms use: the batch (official) or running statistics. */
  encoderStatistics: "batch" | "running";
  /**
   * What the network's batch norms know: the statistics of both domains, or of the target alone. The
   * warm-up model's are then estimated anew on the target images (AdaBN, Li et al., 2016).
   */
  statistics: "both" | "target";
  /** Whether structure loss and regulariser are means over pixels (paper), or over classes too. */
  normalisation: Variant;
  /** Prototypes start from a mean over pixels (paper), or over the class means of images. */
  prototypeStart: Variant;
  /** Prototypes move once a step (paper), or once an image, in turn. */
  prototypeUpdate: Variant;
}

/** Self-supervised pre-training of a backbone that students start from (SimCLR). */
export interface SelfSupervisedConfig extends StageConfig {
  /** Temperature of the softmax over similarities, τ. */
  temperature: number;
  /** Channels that features are projected to before they are compared. */
  projectionChannels: number;
  /** Places that are compared in an image; 0 compares whole images, as SimCLR does. */
  places: number;
  /**
   * A file with a backbone that someone has pre-trained, such as SimCLRv2's: students take it, and the stage
   * is not run. Null to train one.
   */
  weights: string | null;
}

/** The first weights of a student. */
export type StudentStart = "self-supervised" | "supervised" | "teacher" | "random";

/** Stages 2 and 3: distillation from the network of the stage before. */
export interface DistilConfig extends StageConfig {
  /** Pixels that the teacher is less sure of have no pseudo label. */
  threshold: number;
  /** Share of what is predicted as a class that is labelled whatever the threshold; 0 in the paper. */
  keep: number;
  /** Weight of the divergence from the teacher, β (eq. 12). */
  beta: number;
  /** What the teacher sees: the weak view (paper), or the student's strong view (official). */
  teacherView: "weak" | "strong";
  /** How the divergence is computed: as such (paper), or as the released code does. */
  formula: Variant;
  /**
   * What the batch norms of teacher and student know: the statistics of both domains, or of the target
   * alone. The teacher's are then estimated anew on the target images (AdaBN, Li et al., 2016).
   */
  statistics: "both" | "target";
  /**
   * The student's first weights: the backbone of stage `selfsup` or of stage `source` below a random head,
   * the whole teacher, or random ones.
   */
  studentStart: StudentStart;
  /** Whether the student has a batch norm, `bn_pretrain`, between backbone and head. */
  featureNorm: boolean;
}

/** How stage 1's labels are measured while it runs, against the target's own, which it never learns. */
export interface LabelWatchConfig {
  /** Steps between two measurements; 0 for none. */
  every: number;
  /** Target images that are measured, spread over the data set. */
  images: number;
  /** Target images of which every measurement writes a picture; 0 for none. */
  pictures: number;
}

/** The stages of ProDA in their order, and `oracle`: supervised training on the target's own labels. */
export const STAGES = [
  "source",
  "warmup",
  "stage1",
  "selfsup",
  "stage2",
  "stage3",
  "oracle",
] as const;

/** A stage that `pipeline` can name. */
export type StageName = typeof STAGES[number];

/** Everything that decides what a run computes. */
export interface RunConfig {
  /** Seed of weights, data order, views and dropout. */
  seed: number;
  /** The run folder. */
  out: string;
  /**
   * The stages to run, in this order; each starts from the network of the one before. `selfsup` has a
   * network of its own and passes the other on.
   */
  pipeline: StageName[];
  /**
   * Folder of an earlier run that did the stages before the pipeline: this one takes copies of their
   * checkpoints. Null for none.
   */
  base: string | null;
  /**
   * A file that the first stage starts from: a training's checkpoint, or weights from elsewhere, of the
   * backbone alone where they have no head. Null for random weights.
   */
  init: string | null;
  /** Steps between two lines of the log. */
  logEvery: number;
  /** Steps between two evaluations; a stage's end has one. */
  evalEvery: number;
  /** Measurements of the labels that stage 1 makes. */
  labelWatch: LabelWatchConfig;
  /**
   * What a stage hands on to the next, and is scored by: its last network, or the best of its evaluations
   * by labels or without (see `Selection`).
   */
  select: Selection;
  /** Steps between two checkpoints: what an interruption costs at most; a stage's end has one. */
  checkpointEvery: number;
  /** The network. */
  network: NetworkConfig;
  /** What is given up for less GPU memory. */
  memory: MemoryConfig;
  /** The data. */
  data: DataConfig;
  /** The settings of each stage. */
  stages: {
    /** Supervised training on source. */
    source: StageConfig;
    /** Adversarial warm-up. */
    warmup: WarmUpConfig;
    /** Stage 1 of ProDA. */
    stage1: Stage1Config;
    /** Self-supervised pre-training. */
    selfsup: SelfSupervisedConfig;
    /** Stage 2 of ProDA. */
    stage2: DistilConfig;
    /** Stage 3 of ProDA: stage 2 again, from its network. */
    stage3: DistilConfig;
    /** Supervised training on target labels: what adaptation could reach at best. */
    oracle: StageConfig;
  };
}

/** Some of the keys of a configuration. */
export type Partially<T> = T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Partially<T[K]> | undefined }
  : T;

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

const schema: v.GenericSchema<unknown, RunConfig> = v.strictObject({
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
    sourceLayout: oneOf(LAYOUTS),
    targetDirectory: folder,
    targetLayout: oneOf(LAYOUTS),
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

/** A fresh copy of a preset. */
export function presetConfig(name: PresetName): RunConfig {
  return structuredClone(PRESETS[name]);
}

/**
 * Every choice in which the paper and its released code disagree, as one of them has it. Two are right
 * here whatever the recipe: a view moves labels exactly as it moves the image, and no parameter is
 * stepped twice.
 */
export function recipe(variant: Variant): Partially<RunConfig> {
  const official = variant === "official";
  const distil = { teacherView: official ? "strong" : "weak", formula: variant } as const;
  return {
    stages: {
      stage1: {
        encoderStatistics: official ? "batch" : "running",
        normalisation: variant,
        prototypeStart: variant,
        prototypeUpdate: variant,
      },
      stage2: { ...distil, studentStart: "self-supervised" },
      stage3: { ...distil, studentStart: official ? "teacher" : "self-supervised" },
    },
  };
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
 * @throws {DataError} If the file cannot be read, or is of another kind.
 */
export async function loadConfigFile(path: string): Promise<unknown> {
  if (!path.endsWith(".ts")) return readConfigFile(path);
  const loaded = await import(pathToFileURL(resolve(path)).href).catch((error) => {
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

/**
 * Puts self-supervised pre-training before the first student that starts from it, where the pipeline
 * names students and not what they start from, and takes it out where someone has done it.
 */
export function withPretraining(config: RunConfig): RunConfig {
  const { pipeline, stages } = config;
  if (stages.selfsup.weights !== null) {
    const others = pipeline.filter((name) => name !== "selfsup");
    if (others.length > 0) return { ...config, pipeline: others };
    throw new DataError(
      `Cannot run selfsup as stages.selfsup.weights is ${stages.selfsup.weights}, a backbone that takes its ` +
        `place: expected stages that use it; name stage2, or leave the weights out`,
    );
  }
  const first = pipeline.findIndex((name) =>
    (name === "stage2" || name === "stage3") && stages[name].studentStart === "self-supervised"
  );
  if (first < 0 || pipeline.includes("selfsup")) return config;
  return { ...config, pipeline: pipeline.toSpliced(first, 0, "selfsup") };
}

/**
 * Leaves out the stages before `from` and after `until`.
 *
 * @throws {DataError} If the pipeline does not name them in that order.
 */
export function cutPipeline(
  config: RunConfig,
  { from, until }: {
    readonly from?: StageName | undefined;
    readonly until?: StageName | undefined;
  },
): RunConfig {
  const { pipeline } = config;
  const placeOf = (name: StageName) => {
    const place = pipeline.indexOf(name);
    if (place >= 0) return place;
    throw new DataError(
      `Cannot cut the pipeline at ${name} as it does not name it: expected one of ` +
        `${pipeline.join(", ")}; name another stage`,
    );
  };
  const first = from === undefined ? 0 : placeOf(from);
  const end = until === undefined ? pipeline.length : placeOf(until) + 1;
  if (first >= end) {
    throw new DataError(
      `Cannot run from ${from} until ${until} as the one comes after the other: expected the order ` +
        `${pipeline.join(", ")}; exchange them`,
    );
  }
  return { ...config, pipeline: pipeline.slice(first, end) };
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
  const fail = (reason: string) => {
    throw new DataError(`Cannot use this configuration as ${reason}`);
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
    );
  }
  if ((data.sourceDirectory === null) !== (data.targetDirectory === null)) {
    const missing = data.sourceDirectory === null ? "source" : "target";
    fail(
      `only one domain has a folder: expected folders of both, or of neither for the built-in ` +
        `benchmark; give --${missing} too`,
    );
  }
  if (pipeline.includes("oracle") && pipeline.length > 1) {
    fail("pipeline names oracle beside other stages: expected it alone; make two runs");
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? "missing";
  return json.length > 60 ? `${json.slice(0, 57)}…` : json;
}
