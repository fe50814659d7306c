// What an ablation runs, and the tables that it fills: the comparisons of the paper.

import type { Partially } from "../base/settings.ts";
import type { RunConfig } from "../config/settings.ts";
import { kindOf, type StageName, type StagesConfig } from "../stages/kinds.ts";

/** One training, for every seed. */
export interface AblationRun {
  /** The stages that it trains; `selfsup` comes before students that start from it. */
  readonly pipeline: readonly StageName[];
  /** The run whose last network it starts from; null for random weights. */
  readonly after: string | null;
  /** What differs from the preset; it may follow from what all runs share. */
  readonly values: Partially<RunConfig> | ((base: RunConfig) => Partially<RunConfig>);
}

/** One row of a table. */
export interface AblationRow {
  readonly title: string;
  /** The run that it shows, and the stage of it. */
  readonly run: string;
  readonly stage: StageName;
  /** Target mIoU in the paper, GTA5 to Cityscapes, in percent; null where it gives no such number. */
  readonly published: number | null;
}

/** One table. */
export interface AblationGrid {
  /** Its folder. */
  readonly name: string;
  /** What it compares. */
  readonly title: string;
  /** What the paper finds in it. */
  readonly finding: string;
  readonly rows: readonly AblationRow[];
}

/** Stage 1 with some of its settings changed, from the warm-up model that all rows share. */
function stage1(values: Partially<StagesConfig["stage1"]> = {}): AblationRun {
  return { pipeline: ["stage1"], after: "start", values: { stages: { stage1: values } } };
}

/** Stage 2 from stage 1's network; students may start from the backbone of `selfsup`, or of `source`. */
function stage2(values: Partially<StagesConfig["stage2"]>): AblationRun {
  return { pipeline: ["stage2"], after: "selfsup", values: { stages: { stage2: values } } };
}

/**
 * The target's own labels for so many steps, with the rate falling as in the preset: as long as another
 * stage, or as all together.
 */
function oracle(stepsOf: (base: RunConfig) => number): AblationRun {
  const values = (base: RunConfig): Partially<RunConfig> => {
    const { oracle } = base.stages;
    const steps = stepsOf(base);
    const scheduleSteps = Math.max(1, Math.round(oracle.scheduleSteps * steps / oracle.steps));
    return { stages: { oracle: { steps, scheduleSteps } } };
  };
  return { pipeline: ["oracle"], after: null, values };
}

/** Steps that the network of the last stage has learnt for. */
function stepsOfAll({ pipeline, stages }: RunConfig): number {
  return pipeline.filter((name) => kindOf(name).role !== "pretraining")
    .reduce((sum, name) => sum + stages[name].steps, 0);
}

/** Only self-supervised backbones need a batch norm in front of the head. */
const selfSupervised = { studentStart: "self-supervised", featureNorm: true } as const;

/** Labels of the warm-up model as they are; where it is sure, as conventional self-training has them. */
const asTheyAre = { reweighting: "none" } as const;
const confident = { ...asTheyAre, labels: "hard", threshold: 0.9 } as const;
const plainCrossEntropy = { alpha: 1, beta: 0 } as const;
/** Of two views, labels are learnt on the weak one; the regulariser is a part of structure learning. */
const withoutStructure = { gamma1: 0, gamma2: 0, studentView: "weak" } as const;
const withoutStructureLoss = { gamma1: 0, gamma2: 0, studentView: "strong" } as const;

/** Rare class sampling in every stage at a temperature: the start is another one too. */
function rareClasses(
  rareClassSampling: number,
  name = `rare-${rareClassSampling}`,
  stage1: Partially<StagesConfig["stage1"]> = {},
): Record<string, AblationRun> {
  const data = { rareClassSampling };
  const start = `start-rare-${rareClassSampling}`;
  return {
    [start]: { pipeline: ["source", "warmup"], after: null, values: { data } },
    [name]: { pipeline: ["stage1"], after: start, values: { data, stages: { stage1 } } },
  };
}

const DECAYS = [0.9, 0.99, 0.999, 0.9999, 0.99999];
const TEMPERATURES = [2, 1, 0.5, 0.35, 0.25];
/** None, and a milder one than DAFormer's 0.01. */
const RARE_TEMPERATURES = [0, 0.05];

/** What later work adds to stage 1, each as it was published: title, run, settings. */
const SUCCESSORS: readonly (readonly [
  title: string,
  run: string,
  values: Partially<StagesConfig["stage1"]>,
])[] = [
  ["class mix", "class-mix", { mix: "classes" }],
  ["masked image consistency", "masked", { maskedWeight: 1 }],
  ["quality weights", "quality", { qualityThreshold: 0.968 }],
  ["feature distance to the warm-up model", "feature-distance", { featureDistance: 0.005 }],
];

/** The trainings by name, each after the one that it starts from. */
export const RUNS: Readonly<Record<string, AblationRun>> = {
  start: { pipeline: ["source", "warmup"], after: null, values: {} },
  oracle: oracle(({ stages }) => stages.source.steps),
  "oracle-long": oracle(stepsOfAll),
  stage1: stage1(),
  "self-training": stage1({ ...confident, ...plainCrossEntropy, ...withoutStructure }),
  "symmetric": stage1({ ...confident, ...withoutStructure }),
  "denoise": stage1(withoutStructure),
  "structure": stage1(confident),
  "self-training-strong": stage1({ ...confident, ...plainCrossEntropy, ...withoutStructureLoss }),
  "symmetric-strong": stage1({ ...confident, ...withoutStructureLoss }),
  "denoise-strong": stage1(withoutStructureLoss),
  "stage1-weak": stage1({ studentView: "weak" }),
  "stage1-strong": stage1({ studentView: "strong" }),
  moving: stage1({ softLabels: "moving" }),
  "own-prediction": stage1({ reweighting: "prediction" }),
  "no-weights": stage1(asTheyAre),
  hard: stage1({ labels: "hard" }),
  soft: stage1({ labels: "soft" }),
  ...Object.fromEntries(
    [0.5, 0.7, 0.9].map((threshold) => [`threshold-${threshold}`, stage1({ threshold })]),
  ),
  ...Object.fromEntries(
    DECAYS.map((prototypeDecay) => [`decay-${prototypeDecay}`, stage1({ prototypeDecay })]),
  ),
  ...Object.fromEntries(
    TEMPERATURES.map((temperature) => [`temperature-${temperature}`, stage1({ temperature })]),
  ),
  ...Object.fromEntries(SUCCESSORS.map(([, run, values]) => [run, stage1(values)])),
  "feature-distance-selfsup": stage1({ featureDistance: 0.005, featuresOf: "self-supervised" }),
  "own-colours": {
    pipeline: ["source", "warmup", "stage1"],
    after: null,
    values: { data: { sourceColours: "own" } },
  },
  ...Object.assign({}, ...RARE_TEMPERATURES.map((temperature) => rareClasses(temperature))),
  ...rareClasses(
    0.01,
    "successors",
    Object.assign({}, ...SUCCESSORS.map(([, , values]) => values)),
  ),
  students: { pipeline: ["stage2", "stage3"], after: "stage1", values: {} },
  selfsup: { pipeline: ["selfsup"], after: "stage1", values: {} },
  "stage2-no-distillation": stage2({ ...selfSupervised, beta: 0 }),
  "stage2-from-stage1": stage2({ studentStart: "teacher", featureNorm: false }),
  "stage2-supervised": stage2({ studentStart: "supervised", featureNorm: false }),
  stage2: stage2(selfSupervised),
  stage3: {
    pipeline: ["stage3"],
    after: "stage2",
    values: { stages: { stage3: selfSupervised } },
  },
};

function row(
  title: string,
  run: string,
  published: number | null = null,
  stage: StageName = "stage1",
): AblationRow {
  return { title, run, stage, published };
}

const BEFORE_STAGE1 = [
  row("source only", "start", 36.6, "source"),
  row("warm-up", "start", 41.6, "warmup"),
];
const FROM_STAGE1 = [
  row("stage 1: all of it", "stage1", 53.7),
  row("stage 2", "students", 56.9, "stage2"),
  row("stage 3", "students", 57.5, "stage3"),
  row("oracle: the target's own labels, as long as source only", "oracle", null, "oracle"),
  row("oracle: as long as all stages together", "oracle-long", null, "oracle"),
];

/** The tables. */
export const GRIDS: readonly AblationGrid[] = [
  {
    name: "stages",
    title: "The stages, and what the target's own labels would give",
    finding: "In the paper stage 3 recovers about 70 % of the gap to its oracle.",
    rows: [...BEFORE_STAGE1, ...FROM_STAGE1],
  },
  {
    name: "table3",
    title: "Parts of the method, as in Table 3 of the paper",
    finding: "In the paper every part adds to the one before, denoising most.",
    rows: [
      ...BEFORE_STAGE1,
      row("self-training", "self-training", 45.2),
      row("+ symmetric cross entropy", "symmetric", 45.6),
      row("+ structure, without denoising", "structure", 47.6),
      row("+ denoising, without structure", "denoise", 52.3),
      ...FROM_STAGE1,
    ],
  },
  {
    name: "labels",
    title: "How stage 1 makes its labels",
    finding:
      "In the paper fixed soft labels prevent a collapse, prototypes beat the network's own " +
      "prediction by more than 5 mIoU, hard labels beat soft ones by 0.2, and a threshold changes little.",
    rows: [
      row("hard denoised labels", "hard", 53.7),
      row("soft denoised labels", "soft"),
      row("moving soft labels", "moving"),
      row("weighed by the network's own prediction", "own-prediction"),
      row("not weighed", "no-weights"),
      row("threshold 0.5", "threshold-0.5"),
      row("threshold 0.7", "threshold-0.7"),
      row("threshold 0.9", "threshold-0.9"),
    ],
  },
  {
    name: "decay",
    title: "Decay λ of the prototypes",
    finding: "In the paper the result hardly depends on it.",
    rows: DECAYS.map((decay) => row(`λ = ${decay}`, `decay-${decay}`)),
  },
  {
    name: "temperature",
    title: "Temperature τ of the assignments to prototypes",
    finding:
      "The paper's is 1, for 256 channels: distances grow as the root of their number, so that " +
      "with 32 channels 0.35 is as sharp.",
    rows: TEMPERATURES.map((temperature) =>
      row(`τ = ${temperature}`, `temperature-${temperature}`)
    ),
  },
  {
    name: "views",
    title: "The view on which labels are learnt",
    finding:
      "The paper's losses of labels are of the image itself, and the released code learns them on the weak view.",
    rows: [
      row("self-training, weak view", "self-training", 45.2),
      row("self-training, strong view", "self-training-strong"),
      row("+ symmetric cross entropy, weak view", "symmetric", 45.6),
      row("+ symmetric cross entropy, strong view", "symmetric-strong"),
      row("denoising without structure, weak view", "denoise", 52.3),
      row("denoising without structure, strong view", "denoise-strong"),
      row("stage 1, weak view", "stage1-weak", 53.7),
      row("stage 1, strong view", "stage1-strong"),
    ],
  },
  {
    name: "successors",
    title: "What the field has added since",
    finding:
      "Class mix is of DACS, masked image consistency of MIC, quality weights, rare class sampling and " +
      "feature distance are of DAFormer; none was published with ProDA's denoising.",
    rows: [
      row("source only", "start", 36.6, "source"),
      row("warm-up", "start", 41.6, "warmup"),
      row("stage 1", "stage1", 53.7),
      row("warm-up, source images in their own colours", "own-colours", null, "warmup"),
      row("stage 1, source images in their own colours", "own-colours"),
      ...SUCCESSORS.map(([title, run]) => row(`+ ${title}`, run)),
      row("+ feature distance to self-supervised features", "feature-distance-selfsup"),
      ...RARE_TEMPERATURES.flatMap((temperature) => {
        const sampled = temperature === 0
          ? "no rare class sampling"
          : `rare class sampling, T = ${temperature}`;
        return [
          row(`source only, ${sampled}`, `start-rare-${temperature}`, null, "source"),
          row(`warm-up, ${sampled}`, `start-rare-${temperature}`, null, "warmup"),
          row(`stage 1, ${sampled}`, `rare-${temperature}`),
        ];
      }),
      row("stage 1, all of them together", "successors"),
    ],
  },
  {
    name: "students",
    title: "What students of stages 2 and 3 start from",
    finding: "In the paper a self-supervised start and distillation are best together.",
    rows: [
      row("source only", "start", 36.6, "source"),
      row("stage 1", "stage1", 53.7),
      row(
        "stage 2, self-supervised start, no distillation",
        "stage2-no-distillation",
        55.8,
        "stage2",
      ),
      row("stage 2, stage-1 start", "stage2-from-stage1", 56.3, "stage2"),
      row("stage 2, supervised start", "stage2-supervised", 55.7, "stage2"),
      row("stage 2, self-supervised start", "stage2", 56.9, "stage2"),
      row("stage 3, self-supervised start", "stage3", 57.5, "stage3"),
    ],
  },
];
