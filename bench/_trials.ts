// Stages on batches of random numbers that lie on the GPU, for whoever measures a step.

import { type AnyArray, type Gpu, GpuArray } from "../kernels/runtime/mod.ts";
import { PRESETS } from "../train/config/presets.ts";
import type { RunConfig } from "../train/config/settings.ts";
import type { DeepLab } from "../nn/deeplab.ts";
import { createNetwork, stageContext } from "../train/run/stage_context.ts";
import { releaseBatch } from "../train/stages/common/batch.ts";
import { PlannedBatches } from "../train/stages/common/planned_batches.ts";
import type { Losses } from "../train/stages/common/stage.ts";
import { kindOf, type StageName } from "../train/stages/kinds.ts";
import { seededRandom } from "../tests/_check.ts";

/** A stage and its step. */
export interface Trial extends Disposable {
  /** Runs a step; its losses are the caller's to release. */
  step(index: number): Losses;
}

/** Makes a stage of a configuration as a run does, all networks with the same weights. */
export function trialOf(gpu: Gpu, config: RunConfig, classes: number, name: StageName): Trial {
  const network = networkOf(gpu, config, classes);
  const { batch, cropHeight, cropWidth, longSide } = config.data;
  const crop = { height: cropHeight, width: cropWidth };
  const whole = { height: longSide / 2, width: longSide };
  const context = {
    ...stageContext({ config, gpu, network }, name),
    createNetwork: ({ featureNorm = false } = {}) => networkOf(gpu, config, classes, featureNorm),
    batches: new PlannedBatches(gpu, batch, crop, whole),
  };
  const kind = kindOf(name);
  const { stage, makeBatch } = kind.plan(context);
  const planned = makeBatch();
  for (const array of arraysOf(planned)) fill(gpu, array, classes);
  return {
    step: (index) => stage.step(planned, index),
    [Symbol.dispose]() {
      stage[Symbol.dispose]();
      stage.network.dispose();
      if (kind.role === "pretraining") network.dispose(); // it has passed the stage by
      releaseBatch(planned);
      gpu.pool.trim();
    },
  };
}

/**
 * A network of the configuration with weights of a size as He et al. draw them, always the same.
 */
function networkOf(gpu: Gpu, config: RunConfig, classes: number, featureNorm = false): DeepLab {
  const network = createNetwork(config, gpu, classes, { featureNorm, init: "none" });
  for (const [name, array] of network.stateDict()) {
    const [, ...fan] = array.shape;
    const inputs = fan.reduce((product, length) => product * length, 1);
    if (fan.length > 0) gpu.write(array, noise(array.size, Math.sqrt(24 / inputs), -0.5));
    else gpu.write(array, new Float32Array(array.size).fill(/weight$|var$/.test(name) ? 1 : 0));
  }
  return network;
}

const row = Float32Array.from({ length: 65521 }, seededRandom(1));

/** `scale · (u + offset)` of even u in [0, 1), over and over: to draw millions takes seconds. */
function noise(size: number, scale = 1, offset = 0): Float32Array<ArrayBuffer> {
  const scaled = row.map((value) => scale * (value + offset));
  const values = new Float32Array(size);
  for (let at = 0; at < size; at += scaled.length) {
    values.set(scaled.subarray(0, Math.min(scaled.length, size - at)), at);
  }
  return values;
}

/** Images and probabilities, or ids of classes. */
function fill(gpu: Gpu, array: AnyArray, classes: number): void {
  const values = noise(array.size, array.dtype === "u32" ? classes : 1);
  gpu.write(array, array.dtype === "u32" ? Uint32Array.from(values) : values);
}

function arraysOf(value: unknown): AnyArray[] {
  if (value instanceof GpuArray) return [value as AnyArray];
  if (Array.isArray(value)) return value.flatMap(arraysOf);
  const isPlain = typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  return isPlain ? Object.values(value).flatMap(arraysOf) : [];
}

/** Stages that the benchmarks of whole steps show. */
export const TRIALS = ["source", "warmup", "stage1", "stage2"] as const;

/** What is varied. */
export interface Setting {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  readonly blocks: number[];
}

const { data, network } = PRESETS.default; // by itself: reading configurations takes packages

/** The built-in benchmark as the default preset trains it. */
export const BUILT_IN: Setting = {
  batch: data.batch,
  height: data.cropHeight,
  width: data.cropWidth,
  classes: 8,
  blocks: network.blocks,
};

/** A stage of the default configuration, step after step, without its losses. */
export function builtInTrial(
  gpu: Gpu,
  name: StageName,
  { batch, height, width, classes, blocks }: Setting,
): Disposable & { step(): void } {
  const config = structuredClone(PRESETS.default);
  Object.assign(config.network, { blocks });
  Object.assign(config.data, { batch, cropHeight: height, cropWidth: width });
  const trial = trialOf(gpu, config, classes, name);
  let index = 0;
  return {
    step() {
      for (const loss of Object.values(trial.step(index++))) loss.release();
    },
    [Symbol.dispose]: () => trial[Symbol.dispose](),
  };
}
