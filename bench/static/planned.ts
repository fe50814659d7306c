// Commands of a step that is too large for the adapter that takes no time, on the planning device.

import { planningGpu } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import { plannedStage } from "../../train/plan/plan.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import type { StageName } from "../../train/stages/kinds.ts";

/** What a step gives to the driver, as far as the runtime knows it. */
export interface PlannedCommands extends Record<string, number> {
  readonly dispatches: number;
  /** Between buffers, and of what the host has written. */
  readonly copies: number;
  readonly submits: number;
}

/** A GPU with room for one array in one binding. */
const LARGE = { maxStorageBufferBindingSize: 2 ** 31 - 4, maxBufferSize: 2 ** 34 };
/** By the third step what is kept from step to step is there. */
const STEPS = 3;

/** Counts the commands of one step of a stage. */
export function plannedCommands(
  config: RunConfig,
  classes: number,
  name: StageName,
): PlannedCommands {
  using gpu = planningGpu({ kernels: "shared", limits: LARGE });
  const { queue } = gpu;
  queue.profiler = undefined; // it would submit more often
  let copies = 0;
  for (const method of ["copyBytes", "write"] as const) {
    const real = queue[method].bind(queue) as (...args: unknown[]) => void;
    queue[method] = (...args: unknown[]) => {
      copies++;
      real(...args);
    };
  }
  const { stage, makeBatch } = plannedStage(config, classes, name, gpu);
  let counts = { dispatches: 0, copies: 0, submits: 0 };
  for (let index = 0; index < STEPS; index++) {
    const before = { dispatches: queue.dispatches, copies, submits: queue.serial };
    const batch = makeBatch();
    releaseBatch(stage.step(batch, index));
    releaseBatch(batch);
    gpu.flush();
    const submits = queue.serial - before.submits;
    counts = {
      dispatches: queue.dispatches - before.dispatches,
      copies: copies - before.copies + submits, // each writes the parameters of its kernels
      submits,
    };
  }
  return counts;
}
