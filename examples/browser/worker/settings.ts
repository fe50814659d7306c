// What a training in the page is told: the parts of a preset of `./run train` that it follows. The build
// takes them from the program's own table, so that the page trains as the program does.

import type { DenoiseSettings, StageSettings, WarmUpSettings } from "@proda/webgpu";

/** Settings of a training on streets; the preset `quick` has them all. */
export interface TrainingSettings {
  /** Seed of views, data order and dropout. */
  readonly seed: number;
  /** What does not follow from a network's weights. */
  readonly network: NetworkSettings;
  /** How batches are cut. */
  readonly data: DataSettings;
  /** The two stages that the page has. */
  readonly stages: {
    readonly warmup: WarmUpSettings;
    readonly stage1: DenoiseSettings;
  };
}

/** The shape of the networks that come with the project. */
export interface NetworkSettings {
  readonly blocks: readonly number[];
  readonly width: number;
  readonly head: "proda" | "classic";
  readonly headChannels: number;
  readonly groups: number;
  readonly dilations: readonly number[];
  readonly dropout: number;
}

/** Which images, and how views of them are drawn. */
export interface DataSettings {
  readonly batch: number;
  readonly cropHeight: number;
  readonly cropWidth: number;
  readonly longSide: number;
  readonly scales: readonly [number, number];
  readonly flip: number;
  readonly rareClassSampling: number;
  readonly sourceColours: "own" | "target";
  readonly middle: "grey" | "image";
  readonly streets: {
    readonly seed: number;
    readonly width: number;
    readonly height: number;
    readonly sourceTrain: number;
    readonly targetTrain: number;
  };
}

/** Of a short training, with a few steps: its images, steps, and the share of stage 1's learning rate. */
const SHORT = { images: 40, warmup: 6, stage1: 12, rate: 0.25 } as const;

/**
 * The same training in so few steps that a software adapter makes them in a minute or two. At its full
 * learning rate stage 1 would need more of them to come to rest.
 */
export function shortened({ data, stages, ...rest }: TrainingSettings): TrainingSettings {
  const short = <S extends StageSettings>(stage: S, steps: number): S => {
    const rampSteps = Math.max(1, Math.round(stage.rampSteps * steps / stage.steps));
    return { ...stage, steps, scheduleSteps: steps, rampSteps };
  };
  const streets = { ...data.streets, sourceTrain: SHORT.images, targetTrain: SHORT.images };
  const stage1 = { ...stages.stage1, learningRate: SHORT.rate * stages.stage1.learningRate };
  return {
    ...rest,
    data: { ...data, streets },
    stages: { warmup: short(stages.warmup, SHORT.warmup), stage1: short(stage1, SHORT.stage1) },
  };
}
