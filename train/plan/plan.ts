// What a run would take, without running it: every stage's own step on a device that only counts.

import {
  formatBytes,
  type Gpu,
  MemoryError,
  planningGpu,
  type PlanningOptions,
} from "../../kernels/runtime/mod.ts";
import type { Size } from "../../kernels/planes.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { RunConfig } from "../config/settings.ts";
import { predictLabels } from "../evaluation/evaluate.ts";
import { evaluationBatch, networkSize } from "../evaluation/image_batches.ts";
import { createNetwork, stageContext } from "../run/stage_context.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import type { StageKind } from "../stages/common/kind.ts";
import { PlannedBatches } from "../stages/common/planned_batches.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";

/** Between two sizes of whole images that are tried where they do not fit. */
const LONG_SIDE_GRAIN = 32;

/** The arithmetic and the memory traffic of kernels. */
export interface Work {
  /** Floating-point operations, a multiply-add as two, of kernels that are bound by them. */
  readonly flops: number;
  /** Bytes that the other kernels read and write. */
  readonly bytes: number;
  /** Kernels run. */
  readonly dispatches: number;
}

/** What one stage would take. */
export interface StagePlan {
  /** The stage. */
  readonly name: StageName;
  /** Optimiser updates. */
  readonly steps: number;
  /** The most bytes that arrays hold at once: the least memory budget that a step runs in. */
  readonly peak: number;
  /** The same with the buffers that are kept for reuse: what is taken where the budget allows it. */
  readonly peakTaken: number;
  /** Work of one step, forward and backward. */
  readonly step: Work;
}

/** What a run would take. */
export interface TrainingPlan {
  /** Trainable values of the network. */
  readonly parameters: number;
  /** The stages in their order. */
  readonly stages: readonly StagePlan[];
  /** Evaluation of whole images: those of streets, or taken to be twice as wide as high unless given. */
  readonly evaluation: {
    /** Work of an image, forward alone. */
    readonly image: Work;
    /** The most bytes that arrays hold at once. */
    readonly peak: number;
    /** Why this device cannot do it; null where it can. */
    readonly problem: string | null;
    /** The largest `data.longSide`, up to that of the configuration, with which it can; null for none. */
    readonly longSide: number | null;
  };
}

/**
 * Plans the stages of a configuration for an adapter; it allocates nothing on it.
 *
 * @param classes Number of classes.
 * @param device The adapter and its limits.
 * @param size Of whole images, before they are resized.
 * @throws {MemoryError} If a step cannot run on such a device at all.
 */
export async function planTraining(
  config: RunConfig,
  classes: number,
  device: PlanningOptions = {},
  size: Size = imageSize(config),
): Promise<TrainingPlan> {
  const stages: StagePlan[] = [];
  for (const name of config.pipeline) stages.push(await planStage(config, classes, name, device));
  using gpu = planningGpu(device);
  const network = createNetwork(config, gpu, classes, { init: "none" });
  return {
    parameters: network.parameterCount,
    stages,
    evaluation: await planEvaluation(config, network, size),
  };
}

/**
 * Checks that a run will not be stopped by its memory budget.
 *
 * @throws {MemoryError} If a step of some stage holds more bytes at once.
 */
export function checkBudget({ stages }: TrainingPlan, budget: number): void {
  const largest = stages.reduce((a, b) => (b.peak > a.peak ? b : a));
  if (largest.peak <= budget) return;
  throw new MemoryError(
    `Cannot train ${largest.name} in ${formatBytes(budget)} as a step holds ` +
      `${formatBytes(largest.peak)}: expected at least as much; raise memoryBudget, or set ` +
      "memory.recompute, memory.accumulate or smaller data.cropHeight and data.cropWidth",
    { options: ["memoryBudget", "memory.recompute", "memory.accumulate"] },
  );
}

/**
 * A stage with a network of its own and batches of the sizes that a run's have, none of which holds
 * anything: its steps do all that a run's do, on numbers that mean nothing.
 */
export function plannedStage(
  config: RunConfig,
  classes: number,
  name: StageName,
  gpu: Gpu,
): ReturnType<StageKind["plan"]> {
  const network = createNetwork(config, gpu, classes, { init: "none" });
  const { batch, cropHeight, cropWidth } = config.data;
  const crop = { height: cropHeight, width: cropWidth };
  const whole = networkSize(imageSize(config), config.data.longSide);
  const batches = new PlannedBatches(gpu, batch, crop, whole);
  return kindOf(name).plan({ ...stageContext({ config, gpu, network }, name), batches });
}

/**
 * Plans one stage: its third step, when what is kept from step to step is there and buffers have settled.
 *
 * @throws {MemoryError} If a step cannot run on such a device at all.
 */
export async function planStage(
  config: RunConfig,
  classes: number,
  name: StageName,
  device: PlanningOptions,
): Promise<StagePlan> {
  using gpu = planningGpu(device);
  // Nothing is given back but what a step gives back: there is nothing behind it.
  const { stage, makeBatch } = plannedStage(config, classes, name, gpu);
  let step: Work = { flops: 0, bytes: 0, dispatches: 0 };
  try {
    for (const index of [0, 1, 2]) {
      const batch = makeBatch();
      releaseBatch(stage.step(batch, index));
      releaseBatch(batch);
      step = await workOf(gpu);
    }
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    const { cropHeight, cropWidth, batch } = config.data;
    throw new MemoryError(
      `Cannot train ${name} on this adapter as an array of its steps is larger than it takes: found ` +
        `${batch} crops of ${cropWidth}×${cropHeight}, expected fewer or smaller ones; set ` +
        "data.cropHeight and data.cropWidth, data.batch or memory.accumulate",
      { options: ["memory.accumulate", "configPath"], cause: error },
    );
  }
  const { peak, peakTaken } = gpu.memory;
  return { name, steps: config.stages[name].steps, peak, peakTaken, step };
}

/** The work since the last call. */
async function workOf(gpu: Gpu): Promise<Work> {
  gpu.flush();
  const kernels = await gpu.profiler?.report() ?? [];
  const sum = (of: (kernel: typeof kernels[number]) => number) =>
    kernels.reduce((total, kernel) => total + of(kernel), 0);
  return {
    flops: sum(({ flops }) => flops),
    bytes: sum(({ flops, bytes }) => (flops > 0 ? 0 : bytes)),
    dispatches: sum(({ calls }) => calls),
  };
}

/** The size of an image: of streets, or taken to be twice as wide as high. */
function imageSize({ data: { longSide, sourceDirectory, streets } }: RunConfig): Size {
  return sourceDirectory === null ? streets : { height: longSide / 2, width: longSide };
}

async function planEvaluation(
  config: RunConfig,
  network: DeepLab,
  own: Size,
): Promise<TrainingPlan["evaluation"]> {
  const { gpu } = network;
  const { longSide, sourceDirectory, streets, evaluateOn } = config.data;
  const measured = evaluateOn === "val" ? streets.targetVal : streets.targetChoose;
  const available = sourceDirectory === null ? measured : Infinity;
  const count = Math.min(evaluationBatch(own), available);
  network.eval();
  let image: Work = { flops: 0, bytes: 0, dispatches: 0 };
  /** Why images cannot be evaluated at a size. */
  const attempt = async (longSide: number): Promise<string | null> => {
    const size = networkSize(own, longSide);
    try {
      // Pseudo labels and pictures are made of one image at a time.
      for (const images of [1, count]) {
        using batch = gpu.empty([images, 3, size.height, size.width], "images");
        predictLabels(network, batch, own).release();
        const { flops, bytes, dispatches } = await workOf(gpu);
        image = { flops: flops / images, bytes: bytes / images, dispatches: dispatches / images };
      }
      return null;
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
      return error.message;
    }
  };
  const problem = await attempt(longSide);
  const found = { image, peak: gpu.memory.peak, problem };
  if (problem === null) return { ...found, longSide };
  let smaller = LONG_SIDE_GRAIN * Math.ceil(longSide / LONG_SIDE_GRAIN) - LONG_SIDE_GRAIN;
  while (smaller > 0 && await attempt(smaller) !== null) smaller -= LONG_SIDE_GRAIN;
  return { ...found, longSide: smaller > 0 ? smaller : null };
}
