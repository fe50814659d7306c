// Tunes a device for a run before it begins.

import {
  type Gpu,
  MemoryError,
  tune,
  type TuneOptions,
  type Tuning,
} from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../config/settings.ts";
import { planTraining } from "./plan.ts";

/**
 * Chooses the fastest ways of computing what the stages of a configuration will compute, as far as a
 * plan knows it: steps, and the evaluation of whole images.
 *
 * @param gpu Opened with `autotune`; on other devices nothing is done.
 * @param classes Number of classes.
 * @throws {GpuError} If the GPU fails.
 */
export async function tuneTraining(
  gpu: Gpu,
  config: RunConfig,
  classes: number,
  options: TuneOptions,
): Promise<Tuning> {
  const { adapter, choices, device: { limits }, kernelClass: kernels, maxBindingBytes } = gpu;
  if (choices.stopwatch) {
    try {
      const device = { adapter, limits, kernels, maxBindingBytes, choices };
      await planTraining(config, classes, device);
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error; // what can be computed is tuned
    }
  }
  const tuning = await tune(gpu, options);
  gpu.pool.trim(); // nothing of it is of the sizes that a step holds
  return tuning;
}
