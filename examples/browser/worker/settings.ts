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
  readonly stages: { readonly warmup: WarmUpSettings; readonly stage1: DenoiseSettings };
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

/** The same training with fewer steps: every schedule keeps its shape. */
export function shortened(settings: TrainingSettings, share: number): TrainingSettings {
  const short = <S extends StageSettings>(stage: S): S => {
    const scaled = (count: number) => Math.max(1, Math.round(count * share));
    const { steps, scheduleSteps, rampSteps } = stage;
    return {
      ...stage,
      steps: scaled(steps),
      scheduleSteps: scaled(scheduleSteps),
      rampSteps: scaled(rampSteps),
    };
  };
  const { warmup, stage1 } = settings.stages;
  return { ...settings, stages: { warmup: short(warmup), stage1: short(stage1) } };
}
