// A short run on streets without files: source-only, then stage 1 from what that is after a few
// steps. The same images, views and random numbers on every machine.

import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../kernels/softmax.ts";
import { packImages, packLabels, warpImages, warpLabels, warpMaps } from "../../kernels/warp.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { resizeBilinear } from "../../nn/functional/spatial.ts";
import { Random } from "../../nn/random.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import { STREETS_CLASSES } from "../../train/data/class_set.ts";
import { createNetwork } from "../../train/run/stage_context.ts";
import { quarterOf, releaseBatch, type SourceBatch } from "../../train/stages/common/batch.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { Denoise, type DenoiseBatch } from "../../train/stages/denoise/denoise.ts";
import { labelsOf } from "../../train/stages/denoise/sight.ts";
import { bankFor } from "../../train/stages/denoise/label_target.ts";
import { SourceOnly } from "../../train/stages/source_only/source_only.ts";
import { renderStreet, type StreetImage } from "../../train/streets/mod.ts";
import { fullView, strongView, type ViewTransform, weakView } from "../../train/views/views.ts";
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
const { batch: BATCH, cropHeight, cropWidth, longSide, scales, flip, streets } = config.data;
const SIZE = { width: streets.width, height: streets.height };
const CROP = { height: cropHeight, width: cropWidth };
const WEAK = { crop: CROP, longSide, scales, flip };

/** Runs it and gives the losses of every step as soon as the GPU has them. */
export async function* shortRun(gpu: Gpu, steps = STEPS): AsyncGenerator<StepLosses> {
  const classes = STREETS_CLASSES.names.length;
  const [source, target] = (["source", "target"] as const).map((domain) =>
    Array.from(
      { length: IMAGES },
      (_, index) => renderStreet({ ...SIZE, seed: 0, domain, split: "train", index }),
    )
  ) as [StreetImage[], StreetImage[]];
  const network = createNetwork(config, gpu, classes);
  const start = createNetwork(config, gpu, classes, { init: "none" });
  {
    using stage = new SourceOnly(network, { ...config.stages.source, seed: 0 });
    for (let step = 0; step < steps.source; step++) {
      if (step === BEFORE_STAGE1) start.loadStateDict(network.stateDict());
      const batch = { source: sourceBatch(gpu, source, "source", step) };
      const losses = await readLosses(gpu, stage.step(batch, step));
      releaseBatch(batch);
      yield { stage: "source", step, losses };
    }
  }
  const { softLabels, bank } = labelTarget(gpu, start, target);
  const encoder = createNetwork(config, gpu, classes, { init: "none" });
  encoder.loadStateDict(start.stateDict());
  using stage = new Denoise(start, encoder, bank, { ...config.stages.stage1, seed: 0 });
  for (let step = 0; step < steps.stage1; step++) {
    const batch = {
      source: sourceBatch(gpu, source, "stage1", step),
      target: targetBatch(gpu, target, softLabels, step),
    };
    const losses = await readLosses(gpu, stage.step(batch, step));
    releaseBatch(batch);
    yield { stage: "stage1", step, losses };
  }
  for (const array of softLabels) array.release();
}

async function readLosses(gpu: Gpu, losses: Losses): Promise<Record<string, number>> {
  const arrays = Object.values(losses);
  const values = await gpu.readAll(arrays);
  for (const array of arrays) array.release();
  return Object.fromEntries(Object.keys(losses).map((name, at) => [name, values[at]![0]!]));
}

/** Which images a step sees, and how. */
function lookAt(stream: string, step: number): { readonly index: number; view: ViewTransform }[] {
  return Array.from({ length: BATCH }, (_, at) => {
    const place = step * BATCH + at;
    const view = weakView(new Random(0, `${stream}/${place}`), SIZE, WEAK);
    return { index: place % IMAGES, view };
  });
}

function imagesOf(gpu: Gpu, all: readonly StreetImage[], looks: ReturnType<typeof lookAt>) {
  const pixels = looks.map(({ index }) => ({ ...SIZE, data: all[index]!.image }));
  using packed = packImages(gpu, pixels);
  return warpImages(packed, looks.map(({ view }) => view.imageView()), CROP);
}

function sourceBatch(
  gpu: Gpu,
  all: readonly StreetImage[],
  stream: string,
  step: number,
): SourceBatch {
  const looks = lookAt(`source of ${stream}`, step);
  const ids = looks.map(({ index }) => ({
    ...SIZE,
    data: all[index]!.label.map((id) => STREETS_CLASSES.trainIds[id] as number),
  }));
  using packed = packLabels(gpu, ids);
  const labels = warpLabels(packed, looks.map(({ view }) => view.imageView()), CROP);
  return { images: imagesOf(gpu, all, looks), labels };
}

function targetBatch(
  gpu: Gpu,
  all: readonly StreetImage[],
  softLabels: readonly GpuArray[],
  step: number,
): DenoiseBatch["target"] {
  const looks = lookAt("target", step);
  const weak = imagesOf(gpu, all, looks);
  const drawn = looks.map((_, at) =>
    strongView(new Random(0, `strong/${step * BATCH + at}`), CROP)
  );
  const quarter = quarterOf(CROP);
  const channels = softLabels[0]!.shape[1] as number;
  const cut = gpu.empty([BATCH, channels, quarter.height, quarter.width], "soft labels");
  looks.forEach(({ index, view }, at) => {
    using one = warpMaps(softLabels[index]!, [view.mapView(quarterOf(SIZE), quarter)], quarter);
    using row = cut.slice(at, 1);
    gpu.copy(one, row);
  });
  return {
    weak,
    strong: warpMaps(weak, drawn.map(({ transform, colour }) => transform.imageView(colour)), CROP),
    strongViews: drawn.map(({ transform }) => transform),
    softLabels: cut,
  };
}

/** Soft labels of every whole target image, and prototypes (equation 4). */
function labelTarget(gpu: Gpu, network: DeepLab, all: readonly StreetImage[]) {
  const bank = bankFor(network);
  network.eval();
  const softLabels = all.map(({ image }) =>
    noGrad(() =>
      scope(() => {
        using packed = packImages(gpu, [{ ...SIZE, data: image }]);
        using whole = warpImages(packed, [fullView(SIZE).imageView()], SIZE);
        const { features, logits } = network.forward(input(whole));
        using predictions = labelsOf(logits.array);
        bank.collect(features.array, predictions);
        return softmaxForward(resizeBilinear(logits, quarterOf(SIZE)).array);
      })
    )
  );
  bank.start();
  network.train();
  return { softLabels, bank };
}
