// A short run on streets without files: source-only, then stage 1 from what that is after a few
// steps. The same images, views and random numbers on every machine.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { STREETS_CLASSES } from "../../train/data/class_set.ts";
import { SamplesInMemory } from "../../train/data/samples.ts";
import { createNetwork } from "../../train/run/stage_context.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import { Batches } from "../../train/stages/common/batches.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { Denoise } from "../../train/stages/denoise/denoise.ts";
import { labelTarget } from "../../train/stages/denoise/label_target.ts";
import { nextDenoiseBatch } from "../../train/stages/denoise/next_batch.ts";
import { SoftLabelsInMemory } from "../../train/stages/denoise/soft_label_store.ts";
import { SourceOnly } from "../../train/stages/source_only/source_only.ts";
import { streetItem } from "../../train/streets/item.ts";
import { configOf } from "./networks.ts";

/** The stages of the run. */
export type StageOfRun = "source" | "stage1";

/** Steps of each stage. */
export const STEPS: Readonly<Record<StageOfRun, number>> = { source: 60, stage1: 40 };
/** The source steps after which stage 1 starts, so few that all adapters still agree. */
const BEFORE_STAGE1 = 5;
/** Images of each domain. */
const IMAGES = 16;

/** The losses of a step. */
export interface StepLosses {
  readonly stage: StageOfRun;
  readonly step: number;
  readonly losses: Readonly<Record<string, number>>;
}

const config = configOf("streets");
const { seed } = config;
const { batch, cropHeight, cropWidth, longSide, scales, flip, sourceColours, streets } =
  config.data;
const view = { crop: { height: cropHeight, width: cropWidth }, longSide, scales, flip };
const classes = STREETS_CLASSES.names.length;

/** Runs it and gives the losses of every step as soon as the GPU has them. */
export async function* shortRun(gpu: Gpu, steps = STEPS): AsyncGenerator<StepLosses> {
  const [source, target] = [draw("source"), draw("target")];
  const batchesOf = (stage: StageOfRun) =>
    new Batches(
      { gpu, batch, seed, stage, classes, view, sourceColours },
      new SamplesInMemory(source, { seed, stream: "source" }),
      new SamplesInMemory(target, { seed, stream: "target" }),
    );
  const network = createNetwork(config, gpu, classes);
  const start = createNetwork(config, gpu, classes, { init: "none" });
  {
    using stage = new SourceOnly(network, { ...config.stages.source, seed });
    const batches = batchesOf("source");
    for (let step = 0; step < steps.source; step++) {
      if (step === BEFORE_STAGE1) start.loadStateDict(network.stateDict());
      const batch = { source: await batches.nextSource() };
      const losses = await readLosses(gpu, stage.step(batch, step));
      releaseBatch(batch);
      yield { stage: "source", step, losses };
    }
  }
  const softLabels = new SoftLabelsInMemory();
  const images = new SamplesInMemory(target, "sequential");
  const bank = await labelTarget(start, images, softLabels, { longSide });
  const encoder = createNetwork(config, gpu, classes, { init: "none" });
  encoder.loadStateDict(start.stateDict());
  using stage = new Denoise(start, encoder, bank, { ...config.stages.stage1, seed });
  const batches = batchesOf("stage1");
  for (let step = 0; step < steps.stage1; step++) {
    const batch = await nextDenoiseBatch(batches, softLabels, config.stages.stage1);
    const losses = await readLosses(gpu, stage.step(batch, step));
    releaseBatch(batch);
    yield { stage: "stage1", step, losses };
  }
}

function draw(domain: "source" | "target") {
  const { width, height, seed } = streets;
  return Array.from(
    { length: IMAGES },
    (_, index) => streetItem({ seed, domain, split: "train", index, width, height }),
  );
}

async function readLosses(gpu: Gpu, losses: Losses): Promise<Record<string, number>> {
  const arrays = Object.values(losses);
  const values = await gpu.readAll(arrays);
  for (const array of arrays) array.release();
  return Object.fromEntries(Object.keys(losses).map((name, at) => [name, values[at]![0]!]));
}
