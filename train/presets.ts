// Complete configurations to start from. `default` and `quick` fit the built-in benchmark on two CPU
// cores; `full` is the published recipe, for a large GPU and a user's own data.

import type { RunConfig, StageConfig } from "./config.ts";

/** The names of the presets. */
export type PresetName = "default" | "quick" | "full";

const sgd = { headFactor: 10, momentum: 0.9, weightDecay: 2e-4, power: 0.9 };

function supervised(steps: number, learningRate: number): StageConfig {
  return { ...sgd, steps, learningRate, scheduleSteps: steps };
}

const DEFAULT: RunConfig = {
  seed: 0,
  out: "runs/default",
  pipeline: ["source", "warmup", "stage1"],
  logEvery: 10,
  evalEvery: 200,
  network: {
    blocks: [1, 1, 1, 1],
    width: 16,
    head: "proda",
    headChannels: 64,
    groups: 8,
    dilations: [2, 4, 6, 8],
    dropout: 0.1,
  },
  data: {
    sourceDirectory: null,
    sourceLayout: "gta5",
    targetDirectory: null,
    targetLayout: "cityscapes",
    batch: 4,
    cropHeight: 96,
    cropWidth: 192,
    longSide: 256,
    scales: [0.75, 1.25],
    flip: 0.5,
    streets: {
      directory: "data/streets",
      seed: 0,
      width: 256,
      height: 128,
      sourceTrain: 400,
      targetTrain: 400,
      targetVal: 100,
    },
  },
  stages: {
    source: supervised(400, 1e-2),
    warmup: {
      ...supervised(300, 2.5e-3),
      adversarialWeight: 0.01,
      gan: "least-squares",
      discriminatorLearningRate: 1e-4,
      discriminatorPlanes: 16,
    },
    stage1: {
      ...supervised(300, 2.5e-3),
      alpha: 0.1,
      beta: 1,
      gamma1: 10,
      gamma2: 0.1,
      temperature: 1,
      prototypeDecay: 0.99,
      emaDecay: 0.99,
    },
    oracle: supervised(700, 1e-2),
  },
};

const QUICK: RunConfig = {
  ...DEFAULT,
  out: "runs/quick",
  evalEvery: 1000,
  data: {
    ...DEFAULT.data,
    streets: {
      ...DEFAULT.data.streets,
      directory: "data/streets-quick",
      sourceTrain: 60,
      targetTrain: 60,
      targetVal: 20,
    },
  },
  stages: {
    source: supervised(60, 1e-2),
    warmup: { ...DEFAULT.stages.warmup, ...supervised(20, 2.5e-3) },
    stage1: { ...DEFAULT.stages.stage1, ...supervised(20, 2.5e-3) },
    oracle: supervised(80, 1e-2),
  },
};

// Hyper-parameters as run for the published numbers: 84 epochs of 743 steps on a schedule of 90,000.
const published = (learningRate: number, headFactor: number): StageConfig => ({
  ...sgd,
  steps: 62_412,
  learningRate,
  headFactor,
  scheduleSteps: 90_000,
});

const FULL: RunConfig = {
  ...DEFAULT,
  out: "runs/full",
  logEvery: 50,
  evalEvery: 2000,
  network: {
    blocks: [3, 4, 23, 3],
    width: 64,
    head: "proda",
    headChannels: 256,
    groups: 32,
    dilations: [6, 12, 18, 24],
    dropout: 0.1,
  },
  data: {
    ...DEFAULT.data,
    cropHeight: 512,
    cropWidth: 896,
    longSide: 2200,
    scales: [0.5, 1.5],
  },
  stages: {
    source: published(2.5e-4, 10),
    warmup: {
      ...published(2.5e-4, 10),
      adversarialWeight: 0.01,
      gan: "least-squares",
      discriminatorLearningRate: 1e-4,
      discriminatorPlanes: 64,
    },
    stage1: {
      ...published(1e-4, 1),
      alpha: 0.1,
      beta: 1,
      gamma1: 10,
      gamma2: 0.1,
      temperature: 1,
      prototypeDecay: 0.9999,
      emaDecay: 0.999,
    },
    oracle: published(2.5e-4, 10),
  },
};

/** The presets by name. Treat them as constants; `presetConfig` gives a copy to change. */
export const PRESETS: Readonly<Record<PresetName, RunConfig>> = {
  default: DEFAULT,
  quick: QUICK,
  full: FULL,
};
