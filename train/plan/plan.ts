// What a run would take, without running it: every stage's own step on a device that only counts.

import {
  type Gpu,
  type GpuArray,
  planningGpu,
  type PlanningOptions,
  type Shape,
} from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { RunConfig, StageName } from "../config/config.ts";
import { predictLabels } from "../evaluation/evaluate.ts";
import { evaluationBatch } from "../evaluation/image_batches.ts";
import { createNetwork, makeDenoise, makeWarmUp, optimiser } from "../run/stage_setup.ts";
import { bankFor, quarterOf } from "../stages/denoise/soft_labels.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import type { DenoiseBatch } from "../stages/denoise/denoise.ts";
import { Distil, type DistilBatch } from "../stages/distil/distil.ts";
import { type ContrastViews, SelfSupervised } from "../stages/self_supervised/self_supervised.ts";
import { SourceOnly } from "../stages/source_only/source_only.ts";
import type { SourceBatch, Stage } from "../stages/common/stage.ts";
import { ViewTransform } from "../views/views.ts";

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
  /** Evaluation of whole images: those of streets, or taken to be twice as wide as high. */
  readonly evaluation: {
    /** The most bytes that arrays hold at once. */
    readonly peak: number;
    /** Why this device cannot do it; null where it can. */
    readonly problem: string | null;
  };
}

/**
 * Plans the stages of a configuration for an adapter; it allocates nothing on it.
 *
 * @param classes Number of classes.
 * @param device The adapter and its limits.
 * @throws {RangeError} If a step cannot run on such a device at all.
 */
export async function planTraining(
  config: RunConfig,
  classes: number,
  device: PlanningOptions = {},
): Promise<TrainingPlan> {
  const stages: StagePlan[] = [];
  for (const name of config.pipeline) stages.push(await planStage(config, classes, name, device));
  using gpu = planningGpu(device);
  const network = createNetwork(config, gpu, classes, false, "none");
  return {
    parameters: network.parameterCount,
    stages,
    evaluation: planEvaluation(config, network),
  };
}

/** Plans one stage: its third step, when what is kept from step to step is there and buffers have settled. */
async function planStage(
  config: RunConfig,
  classes: number,
  name: StageName,
  device: PlanningOptions,
): Promise<StagePlan> {
  using gpu = planningGpu(device);
  // Nothing is given back but what a step gives back: there is nothing behind it.
  const network = createNetwork(config, gpu, classes, false, "none");
  const { stage, makeBatch } = prepare(name, { config, gpu, network });
  let step: Work = { flops: 0, bytes: 0, dispatches: 0 };
  for (const index of [0, 1, 2]) {
    const batch = makeBatch();
    releaseBatch(stage.step(batch, index));
    releaseBatch(batch);
    step = await workOf(gpu);
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

interface Parts {
  readonly config: RunConfig;
  readonly gpu: Gpu;
  readonly network: DeepLab;
}

/** A stage, and batches of the sizes that it will get. */
function prepare(
  name: StageName,
  parts: Parts,
): { stage: Stage<unknown>; makeBatch: () => unknown } {
  const { config, network } = parts;
  switch (name) {
    case "selfsup":
      return {
        stage: makeSelfSupervised(parts),
        makeBatch: () => ({ source: contrastViews(parts), target: contrastViews(parts) }),
      };
    case "source":
    case "oracle":
      return {
        stage: new SourceOnly(network, optimiser(parts, config.stages[name]), name),
        makeBatch: () => ({ source: sourceBatch(parts) }),
      };
    case "warmup":
      return {
        stage: makeWarmUp(parts),
        makeBatch: () => ({ source: sourceBatch(parts), target: { images: images(parts) } }),
      };
    case "stage1":
      return {
        stage: makeDenoise(parts, bankFor(network)),
        makeBatch: () => denoiseBatch(parts),
      };
    case "stage2":
    case "stage3":
      return { stage: makeDistil(parts, name), makeBatch: () => distilBatch(parts) };
  }
}

/** The network teaches a student of the configured kind. */
function makeDistil({ config, gpu, network }: Parts, name: "stage2" | "stage3"): Distil {
  const options = config.stages[name];
  const student = createNetwork(config, gpu, network.classes, options.featureNorm, "none");
  return new Distil(student, network, { ...options, ...optimiser({ config }, options) }, name);
}

/** It trains a network of its own, beside the one that the next stage starts from. */
function makeSelfSupervised({ config, gpu, network }: Parts): SelfSupervised {
  const { selfsup } = config.stages;
  const own = createNetwork(config, gpu, network.classes, false, "none");
  return new SelfSupervised(own, { ...selfsup, ...optimiser({ config }, selfsup) });
}

/** Two views of every image, and as many places as can be compared. */
function contrastViews({ config: { data, stages: { selfsup } }, gpu }: Parts): ContrastViews {
  const count = 2 * data.batch;
  return {
    images: gpu.empty([count, 3, data.cropHeight, data.cropWidth], "views"),
    places: new Float32Array(count * selfsup.places * 2),
  };
}

function images({ gpu, config: { data } }: Parts): GpuArray {
  return gpu.empty([data.batch, 3, data.cropHeight, data.cropWidth], "images");
}

function sourceBatch(parts: Parts): SourceBatch {
  const { gpu, config: { data } } = parts;
  const labels = gpu.empty([data.batch, data.cropHeight, data.cropWidth], "labels", "u32");
  return { images: images(parts), labels };
}

/** What stages 1 to 3 take of the target, but for its labels. */
function targetViews(parts: Parts) {
  const { data } = parts.config;
  const size = { height: data.cropHeight, width: data.cropWidth };
  return {
    weak: images(parts),
    strong: images(parts),
    strongViews: Array.from({ length: data.batch }, () => new ViewTransform(size, [])),
  };
}

function quarterShape({ data }: RunConfig, ...channels: number[]): Shape {
  const { height, width } = quarterOf({ height: data.cropHeight, width: data.cropWidth });
  return [data.batch, ...channels, height, width];
}

function denoiseBatch(parts: Parts): DenoiseBatch {
  const { gpu, config, network } = parts;
  const softLabels = gpu.empty(quarterShape(config, network.classes), "soft labels");
  return { source: sourceBatch(parts), target: { ...targetViews(parts), softLabels } };
}

function distilBatch(parts: Parts): DistilBatch {
  const { gpu, config } = parts;
  const labels = gpu.empty(quarterShape(config), "pseudo labels", "u32");
  return { source: sourceBatch(parts), target: { ...targetViews(parts), labels } };
}

function planEvaluation({ data }: RunConfig, network: DeepLab): TrainingPlan["evaluation"] {
  const { gpu } = network;
  const { longSide, sourceDirectory, streets } = data;
  const isBuiltIn = sourceDirectory === null;
  const own = isBuiltIn ? streets : { height: longSide / 2, width: longSide };
  const count = Math.min(evaluationBatch(own), isBuiltIn ? streets.targetVal : Infinity);
  const factor = longSide / Math.max(own.height, own.width);
  const size = { height: Math.round(own.height * factor), width: Math.round(own.width * factor) };
  network.eval();
  let problem: string | null = null;
  try {
    const images = gpu.empty([count, 3, size.height, size.width], "images");
    predictLabels(network, images, own).release();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problem = error.message;
  }
  return { peak: gpu.memory.peak, problem };
}
