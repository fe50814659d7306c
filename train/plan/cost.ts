// What a run would cost on an adapter: seconds and bytes, from a plan and from what the adapter does.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../config/settings.ts";
import { releaseBatch } from "../stages/common/batch.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { Facts } from "./facts.ts";
import { plannedStage, planTraining } from "./plan.ts";
import { estimateSeconds, measureThroughput } from "./throughput.ts";

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

/** The cost of a configuration by its plan. @throws {MemoryError} If a step cannot run on such a device at all. */
export async function plannedCost(gpu: Gpu, config: RunConfig, facts: Facts): Promise<Cost> {
  const { adapter, device: { limits }, kernelClass: kernels } = gpu;
  const device = { adapter, limits, kernels };
  const plan = await planTraining(config, facts.classes.length, device, facts.size);
  const throughput = await measureThroughput(gpu, config);
  return {
    step: Object.fromEntries(
      plan.stages.map(({ name, step }) => [name, estimateSeconds(step, throughput)]),
    ),
    image: estimateSeconds(plan.evaluation.image, throughput),
    peak: Math.max(plan.evaluation.peak, ...plan.stages.map(({ peak }) => peak)),
  };
}

/** Steps that are timed of a stage, beside a first one that makes pipelines and takes memory. */
const TIMED_STEPS = { least: 3, most: 9, seconds: 3 };

/**
 * How much longer a step takes than its plan says, by steps of the dearest stage on the adapter itself, on
 * batches that hold nothing.
 */
export async function slownessOf(
  gpu: Gpu,
  config: RunConfig,
  { classes }: Facts,
  { step }: Cost,
): Promise<number> {
  const names = config.pipeline.filter((name) => kindOf(name).role !== "pretraining");
  if (names.length === 0) return 1;
  const name = names.reduce((a, b) => (step[b] ?? 0) > (step[a] ?? 0) ? b : a);
  const { stage, makeBatch } = plannedStage(config, classes.length, name, gpu);
  const times: number[] = [];
  const started = performance.now();
  const isEnough = () => {
    const seconds = (performance.now() - started) / 1000;
    const { least, most } = TIMED_STEPS;
    return times.length >= (seconds < TIMED_STEPS.seconds ? most : least);
  };
  try {
    for (let index = 0; !isEnough(); index++) {
      const before = performance.now();
      const batch = makeBatch();
      releaseBatch(stage.step(batch, index));
      releaseBatch(batch);
      await gpu.finish();
      if (index > 0) times.push((performance.now() - before) / 1000);
    }
  } finally {
    const { network } = stage;
    stage[Symbol.dispose]();
    network.dispose();
    gpu.pool.trim();
  }
  // The middle one, as a machine that others use is as slow as it mostly is.
  const [middle] = times.toSorted((a, b) => a - b).slice(Math.floor(times.length / 2));
  return middle / (step[name] as number);
}

/** What a run would take. */
export function secondsOf(
  { pipeline, stages, evalEvery }: RunConfig,
  { step, image }: Cost,
  { target, measured }: Facts,
): Seconds {
  let [steps, images, rest] = [0, 0, 0];
  for (const name of pipeline) {
    const { steps: count } = stages[name];
    const { passes, role } = kindOf(name);
    steps += count * (step[name] ?? 0);
    images += image * target * (passes?.(stages[name]) ?? 0);
    if (role !== "pretraining") images += image * measured * Math.ceil(count / evalEvery);
    rest += REST_OF_STAGE;
  }
  return { steps, images, rest };
}
