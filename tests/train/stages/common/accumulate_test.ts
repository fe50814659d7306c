// Gradient accumulation: a step in parts is a step of the whole batch, but for batch statistics.

import { strict as assert } from "node:assert";
import type { AnyArray, Gpu, GpuArray } from "../../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { Discriminator } from "../../../../nn/discriminator.ts";
import { BatchNorm2d } from "../../../../nn/layers.ts";
import { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { byParts, joined } from "../../../../train/stages/common/accumulate.ts";
import { releaseBatch } from "../../../../train/stages/common/batch.ts";
import { Denoise, type DenoiseBatch } from "../../../../train/stages/denoise/denoise.ts";
import { Distil, type DistilBatch } from "../../../../train/stages/distil/distil.ts";
import { SourceOnly } from "../../../../train/stages/source_only/source_only.ts";
import type { Stage } from "../../../../train/stages/common/stage.ts";
import type { SourceBatch } from "../../../../train/stages/common/batch.ts";
import { WarmUp, type WarmUpBatch } from "../../../../train/stages/warm_up/warm_up.ts";
import { ViewTransform } from "../../../../train/views/views.ts";
import { assertAllClose } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { Fill } from "../../../goldens/fill.ts";
import { readAll, take } from "../../_stages.ts";

const [BATCH, HEIGHT, WIDTH, CLASSES] = [4, 29, 41, 5] as const;
const QUARTER = [7, 10] as const;
const IGNORED = 255;

const options = {
  learningRate: 0.05,
  headFactor: 2,
  momentum: 0.9,
  weightDecay: 1e-4,
  scheduleSteps: 10,
  power: 0.9,
  rampSteps: 0,
  seed: 0,
};

/** A network without what depends on how a batch is cut: dropout and batch statistics. */
function networkOf(gpu: Gpu, salt: string): DeepLab {
  const network = new DeepLab(gpu, {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: 8,
    groups: 4,
    dilations: [1, 2],
    dropout: 0,
    init: "none",
  });
  new Fill(salt).module(network);
  for (const [, module] of network.namedModules()) {
    if (module instanceof BatchNorm2d) module.frozen = true;
  }
  return network;
}

/** Labels of which the later images have ever fewer, so that parts do not weigh the same. */
function labelsOf(gpu: Gpu, fill: Fill, [height, width]: readonly [number, number]) {
  const plane = height * width;
  const labels = fill.labels("labels", [BATCH, height, width], CLASSES).map((label, index) => {
    const image = Math.floor(index / plane);
    return index % plane < image * image * plane / 10 ? IGNORED : label;
  });
  return gpu.upload(labels, [BATCH, height, width], "labels");
}

function imagesOf(gpu: Gpu, fill: Fill, name: string): GpuArray {
  const pixels = fill.signed(name, BATCH * 3 * HEIGHT * WIDTH).map((value) => (value + 1) / 2);
  return gpu.upload(pixels, [BATCH, 3, HEIGHT, WIDTH], name);
}

function sourceOf(gpu: Gpu, fill: Fill): SourceBatch {
  return { images: imagesOf(gpu, fill, "source"), labels: labelsOf(gpu, fill, [HEIGHT, WIDTH]) };
}

/** Views of which ever less is of the image. */
function viewsOf(gpu: Gpu, fill: Fill) {
  const size = { height: HEIGHT, width: WIDTH };
  return {
    weak: imagesOf(gpu, fill, "weak"),
    strong: imagesOf(gpu, fill, "strong"),
    strongViews: Array.from(
      { length: BATCH },
      (_, index) => new ViewTransform(size, [{ kind: "translate", x: 9 * index, y: 2 }]),
    ),
  };
}

function denoiseBatch(gpu: Gpu, fill: Fill): DenoiseBatch {
  const [height, width] = QUARTER;
  const soft = fill.signed("soft", BATCH * CLASSES * height * width).map((value) => value + 1.01);
  const softLabels = gpu.upload(soft, [BATCH, CLASSES, height, width], "soft labels");
  return { source: sourceOf(gpu, fill), target: { ...viewsOf(gpu, fill), softLabels } };
}

function distilBatch(gpu: Gpu, fill: Fill): DistilBatch {
  const labels = labelsOf(gpu, fill, QUARTER);
  return { source: sourceOf(gpu, fill), target: { ...viewsOf(gpu, fill), labels } };
}

function warmUpBatch(gpu: Gpu, fill: Fill): WarmUpBatch {
  return { source: sourceOf(gpu, fill), target: { images: imagesOf(gpu, fill, "target") } };
}

/** With pasted pixels of which ever more are in the later images, and hidden ones. */
function mixedBatch(gpu: Gpu, fill: Fill): DenoiseBatch {
  const { source, target } = denoiseBatch(gpu, fill);
  const plane = HEIGHT * WIDTH;
  const labels = fill.labels("pasted", [BATCH, HEIGHT, WIDTH], CLASSES).map((label, index) =>
    index % plane < Math.floor(index / plane) * plane / 5 ? label : IGNORED
  );
  const pasted = { labels: gpu.upload(labels, [BATCH, HEIGHT, WIDTH], "pasted") };
  return { source, target: { ...target, pasted, masked: imagesOf(gpu, fill, "masked") } };
}

const ADDED = {
  mix: "classes",
  maskedWeight: 0.7,
  qualityThreshold: 0.5,
  studentView: "strong",
} as const;

function makeDenoise(
  network: DeepLab,
  accumulate: number,
  added: Partial<typeof ADDED> = {},
): Denoise {
  const { gpu } = network;
  const bank = new PrototypeBank(gpu, { classes: CLASSES, channels: 8, minimumPixels: 1 });
  gpu.write(bank.prototypes, new Fill("bank").signed("prototypes", CLASSES * 8));
  return new Denoise(network, networkOf(gpu, "encoder"), bank, {
    ...options,
    accumulate,
    alpha: 0.1,
    beta: 1,
    gamma1: 10,
    gamma2: 0.1,
    temperature: 1,
    prototypeDecay: 0.9,
    emaDecay: 0.9,
    encoderStatistics: "running",
    normalisation: "paper",
    ...added,
  });
}

function makeWarmUp(network: DeepLab, accumulate: number): WarmUp {
  const discriminator = new Discriminator(network.gpu, { classes: CLASSES, planes: 4 });
  return new WarmUp(network, discriminator, {
    ...options,
    accumulate,
    adversarialWeight: 0.1,
    gan: "bce",
    discriminatorLearningRate: 0, // Adam's first step depends on signs of gradients near 0
  });
}

function makeDistil(network: DeepLab, accumulate: number): Distil {
  const settings = { beta: 1, teacherView: "weak", formula: "paper" } as const;
  return new Distil(network, networkOf(network.gpu, "teacher"), {
    ...options,
    ...settings,
    accumulate,
  });
}

type Make<B> = (network: DeepLab, accumulate: number) => Stage<B>;

/** Losses, and all that the next step depends on, after two steps. */
async function twoSteps<B>(
  make: Make<B>,
  makeBatch: (gpu: Gpu, fill: Fill) => B,
  accumulate: number,
): Promise<Map<string, ArrayLike<number>>> {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const outcome = new Map<string, ArrayLike<number>>();
  {
    using network = networkOf(gpu, "student");
    using stage = make(network, accumulate);
    for (const step of [0, 1]) {
      const batch = makeBatch(gpu, new Fill(`batch ${step}`));
      for (const [name, value] of Object.entries(await take(stage.step(batch, step)))) {
        outcome.set(`${name} of step ${step}`, [value]);
      }
      releaseBatch(batch);
    }
    for (const [name, values] of await readAll(stage.state())) outcome.set(name, values);
  }
  assert.equal(gpu.memory.live, before, "bytes were left behind");
  return outcome;
}

function check<B>(name: string, make: Make<B>, makeBatch: (gpu: Gpu, fill: Fill) => B): void {
  Deno.test(`two steps of ${name} in parts are two steps of the whole batch`, async () => {
    const whole = await twoSteps(make, makeBatch, 1);
    const parts = await twoSteps(make, makeBatch, BATCH);
    assert.deepEqual([...parts.keys()], [...whole.keys()]);
    for (const [key, values] of whole) {
      const size = Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));
      const atol = 1e-6 + 2e-5 * size / Math.sqrt(values.length);
      assertAllClose(key, parts.get(key) ?? [], values, { atol, rtol: 2e-5 });
    }
  });
}

check(
  "source-only",
  (network, accumulate) => new SourceOnly(network, { ...options, accumulate }),
  (gpu, fill) => ({ source: sourceOf(gpu, fill) }),
);
check("warm-up", makeWarmUp, warmUpBatch);
check("stage 1", (network, accumulate) => makeDenoise(network, accumulate), denoiseBatch);
check(
  "stage 1 on mixed and masked images, weighed by quality,",
  (network, accumulate) => makeDenoise(network, accumulate, ADDED),
  mixedBatch,
);
check("stage 2", makeDistil, distilBatch);

Deno.test("parts of a batch are its rows in order, aligned or not, and join to the batch", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const numbers = Float32Array.from({ length: 4 * 5 }, (_, index) => index);
  const batch = {
    array: gpu.upload(numbers, [4, 5], "rows of 20 bytes"),
    list: ["a", "b", "c", "d"],
    none: null,
  };
  const parts = byParts(batch, 2, ({ array, list, none }) => {
    assert.equal(array.byteOffset % gpu.offsetAlignment, 0);
    return { array: array.retain(), list: list.join(), none };
  });
  assert.deepEqual(parts.map(({ list }) => list), ["a,b", "c,d"]);
  assert.deepEqual(await parts[1]?.array.read(), numbers.slice(10));
  const whole = joined(parts.map(({ array, none }): { array: AnyArray; none: AnyArray | null } => ({
    array,
    none,
  })));
  assert.deepEqual(await whole.array.read(), numbers);
  assert.equal(whole.none, null);
  whole.array.release();
  assert.throws(
    () => byParts(batch, 3, () => null),
    /Cannot accumulate a step of 4 images in 3 parts/,
  );
  batch.array.release();
  assert.equal(gpu.memory.live, before, "bytes were left behind");
});
