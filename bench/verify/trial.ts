// A stage on a batch of random numbers that lies on the GPU.

import { type AnyArray, type Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import { createNetwork, stageContext } from "../../train/run/stage_context.ts";
import { PlannedBatches } from "../../train/stages/common/planned_batches.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { kindOf, type StageName } from "../../train/stages/kinds.ts";
import { seededRandom } from "../../tests/_check.ts";

/** A stage and its step. */
export interface Trial {
  /** Runs a step; its losses are the caller's to release. */
  step(index: number): Losses;
}

/**
 * Makes a stage of a configuration as a run does, its networks drawn at random. It stays until the device
 * is closed.
 */
export function trialOf(gpu: Gpu, config: RunConfig, classes: number, name: StageName): Trial {
  const network = createNetwork(config, gpu, classes);
  const { batch, cropHeight, cropWidth, longSide } = config.data;
  const crop = { height: cropHeight, width: cropWidth };
  const whole = { height: longSide / 2, width: longSide };
  const context = {
    ...stageContext({ config, gpu, network }, name),
    createNetwork: ({ featureNorm = false } = {}) =>
      createNetwork(config, gpu, classes, { featureNorm }),
    batches: new PlannedBatches(gpu, batch, crop, whole),
  };
  const { stage, makeBatch } = kindOf(name).plan(context);
  const planned = makeBatch();
  const random = seededRandom(1);
  for (const array of arraysOf(planned)) fill(gpu, array, random, classes);
  return { step: (index) => stage.step(planned, index) };
}

/** Images and probabilities, or ids of classes. */
function fill(gpu: Gpu, array: AnyArray, random: () => number, classes: number): void {
  const isIds = array.dtype === "u32";
  const row = Float32Array.from({ length: 65521 }, random);
  const at = (index: number) => row[index % row.length] as number;
  gpu.write(
    array,
    isIds
      ? Uint32Array.from({ length: array.size }, (_, index) => Math.floor(at(index) * classes))
      : Float32Array.from({ length: array.size }, (_, index) => at(index)),
  );
}

function arraysOf(value: unknown): AnyArray[] {
  if (value instanceof GpuArray) return [value as AnyArray];
  if (Array.isArray(value)) return value.flatMap(arraysOf);
  const isPlain = typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  return isPlain ? Object.values(value).flatMap(arraysOf) : [];
}
