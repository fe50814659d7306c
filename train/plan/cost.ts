// What a run would cost on an adapter: seconds and bytes, from a plan and from what the adapter does.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../config/settings.ts";
import { MOST_IMAGES, VIEWS } from "../evaluation/agreement.ts";
import { predictLabels } from "../evaluation/evaluate.ts";
import { evaluationBatch, networkSize } from "../evaluation/image_batches.ts";
import { createNetwork } from "../run/stage_context.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { Facts } from "./facts.ts";
import { plannedStage, planTraining } from "./plan.ts";
import { estimateSeconds, type Throughput } from "./throughput.ts";

/** What parts of a run cost. */
export interface Cost {
  /** Seconds of a step, by stage of the pipeline. */
  readonly step: Readonly<Partial<Record<StageName, number>>>;
  /** Seconds of a whole image, forward alone. */
  readonly image: number;
  /** The most bytes that arrays hold at once. */
  readonly peak: number;
}

/** Seconds of a run by what they go to. */
export interface Seconds {
  /** Of steps. */
  readonly steps: number;
  /** Of whole images: evaluations, and labels that stages make of the target. */
  readonly images: number;
  /** Of files, and of all else. */
  readonly rest: number;
}

/** Seconds of a stage that go to its checkpoint, its pictures, and its threads. */
const REST_OF_STAGE = 2;

/**
 * The cost of a configuration by its plan.
 *
 * @param throughput Rates of the device with networks as wide and crops as large.
 * @throws {MemoryError} If a step cannot run on such a device at all.
 */
export async function plannedCost(
  gpu: Gpu,
  config: RunConfig,
  facts: Facts,
  throughput: Throughput,
): Promise<Cost> {
  const { adapter, device: { limits }, kernelClass: kernels } = gpu;
  const device = { adapter, limits, kernels };
  const plan = await planTraining(config, facts.classes.length, device, facts.size);
  return {
    step: Object.fromEntries(
      plan.stages.map(({ name, step }) => [name, estimateSeconds(step, throughput)]),
    ),
    image: estimateSeconds(plan.evaluation.image, throughput),
    peak: Math.max(plan.evaluation.peak, ...plan.stages.map(({ peak }) => peak)),
  };
}

/** How often work is timed, after a first time that makes pipelines and takes memory. */
const TIMED = { least: 3, most: 9, seconds: 3 };

/** How many times as long as its plan something takes. */
export type Slowness = Readonly<Record<"step" | "image", number>>;

/**
 * Compares a plan with what the adapter does: with steps of the dearest stage, and with whole images, none
 * of which hold anything.
 */
export async function slownessOf(
  gpu: Gpu,
  config: RunConfig,
  facts: Facts,
  { step, image }: Cost,
): Promise<Slowness> {
  const classes = facts.classes.length;
  const names = config.pipeline.filter((name) => kindOf(name).role !== "pretraining");
  const dearest = names.reduce<StageName | null>(
    (a, b) => a !== null && (step[a] ?? 0) >= (step[b] ?? 0) ? a : b,
    null,
  );
  const ofStep = dearest === null
    ? 1
    : await secondsOfStep(gpu, config, classes, dearest) / (step[dearest] as number);
  if (image === 0) return { step: ofStep, image: ofStep }; // they do not fit this device
  return { step: ofStep, image: await secondsOfImage(gpu, config, facts) / image };
}

async function secondsOfStep(
  gpu: Gpu,
  config: RunConfig,
  classes: number,
  name: StageName,
): Promise<number> {
  const { stage, makeBatch } = plannedStage(config, classes, name, gpu);
  try {
    return await timed(gpu, (index) => {
      const batch = makeBatch();
      releaseBatch(stage.step(batch, index));
      releaseBatch(batch);
    });
  } finally {
    const { network } = stage;
    stage[Symbol.dispose]();
    network.dispose();
    gpu.pool.trim();
  }
}

async function secondsOfImage(
  gpu: Gpu,
  config: RunConfig,
  { classes, size }: Facts,
): Promise<number> {
  const network = createNetwork(config, gpu, classes.length, { init: "none" });
  network.eval();
  const count = evaluationBatch(size);
  const { height, width } = networkSize(size, config.data.longSide);
  try {
    using images = gpu.zeros([count, 3, height, width], "images");
    return await timed(gpu, () => predictLabels(network, images, size).release()) / count;
  } finally {
    network.dispose();
    gpu.pool.trim();
  }
}

/** The seconds that work takes: the middle one, as a machine that others use is as slow as it mostly is. */
async function timed(gpu: Gpu, work: (index: number) => void): Promise<number> {
  const times: number[] = [];
  const started = performance.now();
  const isEnough = () => {
    const isOver = performance.now() - started > 1000 * TIMED.seconds;
    return times.length >= (isOver ? TIMED.least : TIMED.most);
  };
  for (let index = 0; !isEnough(); index++) {
    const before = performance.now();
    work(index);
    await gpu.finish();
    if (index > 0) times.push((performance.now() - before) / 1000);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/** What a run would take. */
export function secondsOf(config: RunConfig, { step, image }: Cost, facts: Facts): Seconds {
  const { pipeline, stages, evalEvery } = config;
  const { target, measured } = facts;
  let [steps, images, rest] = [0, 0, 0];
  for (const name of pipeline) {
    const { steps: count } = stages[name];
    const { passes, role } = kindOf(name);
    steps += count * (step[name] ?? 0);
    images += image * target * (passes?.(stages[name]) ?? 0);
    if (role !== "pretraining") {
      images += image *
        (measured * Math.ceil(count / evalEvery) + imagesAtEnd(name, config, facts));
    }
    rest += REST_OF_STAGE;
  }
  return { steps, images, rest };
}

/**
 * The whole images that the end of a stage takes beside its evaluation: in other views, and, of a network that
 * has adapted, in comparison with an earlier one and with other statistics.
 */
function imagesAtEnd(
  name: StageName,
  { finalStatistics, data: { heldOut } }: RunConfig,
  { target, measured }: Facts,
): number {
  const views = (1 + VIEWS.length) * Math.min(measured, MOST_IMAGES);
  const { adapts } = kindOf(name);
  const compared = 2 * Math.min(measured, heldOut.images);
  const again = adapts && finalStatistics === "better" ? target + measured + views + compared : 0;
  return views + (adapts === "by pseudo labels" ? compared : 0) + again;
}
