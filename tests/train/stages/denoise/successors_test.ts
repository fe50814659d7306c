// What later work adds to stage 1: class mix, masked images and quality weights. A step of the stage has
// the losses that doubles make of the same views and labels.

import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps } from "../../../../kernels/warp.ts";
import type { DeepLab } from "../../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
import { releaseBatch } from "../../../../train/stages/common/batch.ts";
import {
  Denoise,
  type DenoiseBatch,
  type DenoiseOptions,
} from "../../../../train/stages/denoise/denoise.ts";
import { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { labelTargetPixels } from "../../../../train/stages/denoise/target_labels.ts";
import { assertAllClose, type Nd } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { Fill } from "../../../goldens/fill.ts";
import { labelQuality, mixed, pastedLabels } from "../../../_reference/class_mix.ts";
import {
  crossEntropy,
  klDivergence,
  softCrossEntropy,
  softmax,
  symmetricCrossEntropy,
} from "../../../_reference/losses.ts";
import { prototypeDistances } from "../../../_reference/prototypes.ts";
import {
  classes,
  denoiseBatches,
  encoderOf,
  golden,
  networkOf,
  readAll,
  take,
} from "../../_stages.ts";

const IGNORE = 255;
const { options: goldenOptions, salt } = golden.stage1;
const [HEIGHT, WIDTH] = golden.crop;
const CROP = { height: HEIGHT, width: WIDTH };
const QUARTER = { height: golden.quarter[0], width: golden.quarter[1] };
const PIXELS = QUARTER.height * QUARTER.width;
/** Of the labels of untrained networks, so that some are surer. */
const THRESHOLD = 0.7;

/** The stage at the start of the golden, its networks the caller's. */
function stageOf(gpu: Gpu, options: Partial<DenoiseOptions>) {
  const fill = new Fill(salt);
  const network = networkOf(gpu, fill);
  const encoder = encoderOf(gpu, fill);
  const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
  gpu.write(bank.prototypes, fill.signed("prototypes", bank.prototypes.size));
  const all = { ...goldenOptions, seed: 0, ...options };
  return { network, encoder, bank, options: all, stage: new Denoise(network, encoder, bank, all) };
}

async function nd(array: GpuArray): Promise<Nd> {
  return { data: Float64Array.from(await array.read()), shape: array.shape };
}

/** Features and logits of images at a quarter of their size; on the GPU they are the caller's. */
function lookAt(network: DeepLab, images: GpuArray) {
  return noGrad(() =>
    scope(() => {
      const { features, logits } = network.forward(input(images));
      return {
        features: resizeBilinear(features, QUARTER).array.retain(),
        logits: resizeBilinear(logits, QUARTER).array.retain(),
      };
    })
  );
}

/** The same in doubles. */
async function look(
  network: DeepLab,
  images: GpuArray,
): Promise<Record<"features" | "logits", Nd>> {
  const { features, logits } = lookAt(network, images);
  const found = { features: await nd(features), logits: await nd(logits) };
  releaseBatch([features, logits]);
  return found;
}

/** The first batch of the golden with the odd classes of its source images pasted, and patches hidden. */
async function makeBatch(gpu: Gpu, studentView: "weak" | "strong", mix: boolean) {
  const [{ source, target }, ...rest] = denoiseBatches(gpu, new Fill(salt), golden.stage1);
  rest.forEach(releaseBatch);
  const masked = gpu.upload(
    (await target.strong.read()).map((value, i) => i % 48 < 20 ? 0 : value),
    target.strong.shape,
    "masked",
  );
  if (!mix) return { source, target: { ...target, masked } };
  const labels = await source.labels.read();
  const plane = HEIGHT * WIDTH;
  const [images, weak] = [await source.images.read(), await target.weak.read()];
  const odd = Array.from({ length: classes }, (_, k) => k).filter((k) => k % 2 === 1);
  const parts = [0, 1].map((at) => {
    const pasted = pastedLabels(labels.subarray(at * plane, (at + 1) * plane), odd);
    const own = [images, weak].map((all) => all.subarray(at * 3 * plane, (at + 1) * 3 * plane));
    return { pasted, image: mixed(own[0], own[1], pasted) };
  });
  const pasted = gpu.upload(
    Uint32Array.from(parts.flatMap(({ pasted }) => pasted)),
    source.labels.shape,
    "pasted",
  );
  const mixedWeak = gpu.upload(
    Float32Array.from(parts.flatMap(({ image }) => image)),
    target.weak.shape,
    "mixed",
  );
  if (studentView === "weak") {
    return { source, target: { ...target, masked, pasted: { labels: pasted, weak: mixedWeak } } };
  }
  const looks = target.strongViews.map((view) => view.imageView(goldenOptions.colour));
  const strong = warpMaps(mixedWeak, looks, CROP);
  releaseBatch([mixedWeak, target.strong]);
  return { source, target: { ...target, strong, masked, pasted: { labels: pasted } } };
}

/** The nearest pixels of a map of the crop, corners on corners, at a quarter of its size. */
function quarterOf(map: ArrayLike<number>): number[] {
  const place = (i: number, length: number, own: number) =>
    Math.floor(i * (length - 1) / (own - 1) + 0.5);
  return Array.from({ length: 2 * PIXELS }, (_, i) => {
    const [image, pixel] = [Math.floor(i / PIXELS), i % PIXELS];
    const y = place(Math.floor(pixel / QUARTER.width), HEIGHT, QUARTER.height);
    const x = place(pixel % QUARTER.width, WIDTH, QUARTER.width);
    return map[(image * HEIGHT + y) * WIDTH + x];
  });
}

const CASES: Record<string, Partial<DenoiseOptions>> = {
  "class mix on the strong view": { mix: "classes", studentView: "strong" },
  "class mix on the weak view": { mix: "classes", studentView: "weak" },
  "class mix with soft labels": { mix: "classes", studentView: "strong", labels: "soft" },
  "class mix and quality weights": {
    mix: "classes",
    studentView: "strong",
    qualityThreshold: THRESHOLD,
  },
  "class mix and quality weights of soft labels": {
    mix: "classes",
    studentView: "strong",
    labels: "soft",
    qualityThreshold: THRESHOLD,
  },
  "quality weights": { studentView: "weak", qualityThreshold: THRESHOLD },
  "masked images": { studentView: "strong", maskedWeight: 0.5 },
  "masked images whose labels are weighed": {
    studentView: "strong",
    maskedWeight: 0.5,
    qualityThreshold: THRESHOLD,
  },
  "all of it": {
    mix: "classes",
    studentView: "strong",
    labels: "soft",
    maskedWeight: 2,
    qualityThreshold: THRESHOLD,
  },
};

for (const [name, variant] of Object.entries(CASES)) {
  Deno.test(`a step with ${name} has the losses of doubles`, async () => {
    const gpu = await testGpu();
    const held = () => gpu.memory.live - gpu.memory.derived;
    const before = held();
    await compareStep(gpu, variant);
    assert.equal(held(), before, "bytes left behind");
  });
}

/** Takes a step, and holds its losses against those of doubles. */
async function compareStep(gpu: Gpu, variant: Partial<DenoiseOptions>): Promise<void> {
  const { network, encoder, bank, options, stage } = stageOf(gpu, variant);
  const isStrong = options.studentView === "strong";
  const mix = options.mix === "classes";
  const batch = await makeBatch(gpu, isStrong ? "strong" : "weak", mix);
  const { target } = batch as DenoiseBatch;

  const { features, logits } = lookAt(encoder, target.weak);
  const distances = bank.distances(features);
  const evidence = { softLabels: target.softLabels, logits, distances };
  const taught = labelTargetPixels(evidence, options);
  const views = target.strongViews.map((view) => view.mapView(QUARTER, QUARTER));
  using strongLabels = warpLabelMaps(taught.labels, views, QUARTER);
  using softMoved = taught.soft && isStrong
    ? warpMaps(taught.soft, views, QUARTER)
    : (taught.soft ?? distances).retain();
  using weakDistances = warpMaps(distances, views, QUARTER);
  const sure = await taught.confidence.read();
  using channel = taught.confidence.view([2, 1, QUARTER.height, QUARTER.width]);
  using seenMap = warpMaps(channel, views, QUARTER);
  const seen = await seenMap.read();

  let pasted: ArrayLike<number> = new Array(2 * PIXELS).fill(IGNORE);
  if (target.pasted && isStrong) {
    const looks = target.strongViews.map((view) => view.mapView(CROP, QUARTER));
    using moved = warpLabelMaps(target.pasted.labels, looks, QUARTER);
    pasted = await moved.read();
  } else if (target.pasted) pasted = quarterOf(await target.pasted.labels.read());
  const isPasted = (pixel: number) => pasted[pixel] !== IGNORE;
  const count = Array.from(pasted).filter((label) => label !== IGNORE).length;
  assert.ok(mix ? count > PIXELS / 4 && count < 2 * PIXELS : count === 0, `${count} pasted`);

  const own = await (isStrong ? strongLabels : taught.labels).read();
  const labels = Uint32Array.from(own, (label, i) => isPasted(i) ? pasted[i] : label);
  const soft = await nd(softMoved);
  soft.data.forEach((p, i) => {
    const pixel = Math.floor(i / (classes * PIXELS)) * PIXELS + i % PIXELS;
    const k = Math.floor(i / PIXELS) % classes;
    soft.data[i] = isPasted(pixel) ? Number(pasted[pixel] === k) : p;
  });
  const qualities = [0, 1].map((image) =>
    options.qualityThreshold
      ? labelQuality(sure.subarray(image * PIXELS, (image + 1) * PIXELS), THRESHOLD)
      : 1
  );
  if (options.qualityThreshold) {
    assert.ok(qualities.every((q) => q > 0 && q < 1), `qualities ${qualities}`);
  }
  const imageWeights = Array.from(labels, (_, i) => qualities[Math.floor(i / PIXELS)]);
  const weights = imageWeights.map((q, i) => isPasted(i) ? 1 : q);

  network.train();
  const learnt = isStrong ? target.strong : target.pasted?.weak ?? target.weak;
  const student = await look(network, learnt);
  const { alpha, beta } = options;
  const expected: Record<string, Nd> = {
    symmetric: options.labels === "soft"
      ? softCrossEntropy(student.logits, soft, labels, alpha, beta, weights)
      : symmetricCrossEntropy(student.logits, labels, alpha, beta, IGNORE, weights),
  };
  const strong = isStrong ? student : await look(network, target.strong);
  expected.structure = klDivergence(
    prototypeDistances(strong.features, await nd(bank.prototypes)),
    softmax(await nd(weakDistances), -1 / options.temperature),
    seen.map((value, i) => isStrong && isPasted(i) ? 0 : value),
    { scale: -1 / options.temperature },
  );
  if (options.maskedWeight) {
    const hidden = await look(network, target.masked as GpuArray);
    const ids = await strongLabels.read();
    expected.masked = crossEntropy(hidden.logits, ids, IGNORE, imageWeights);
  }

  const found = await take(stage.step(batch, 0));
  assert.equal("masked" in found, "masked" in expected);
  for (const [name, { data: [value] }] of Object.entries(expected)) {
    assert.ok(value > 0.01, `${name} is ${value}`);
    assertAllClose(name, [found[name]], [value], { atol: 1e-6, rtol: 2e-4 });
  }
  releaseBatch([features, logits, distances, { ...taught }, batch]);
  stage[Symbol.dispose]();
  network.dispose();
}

Deno.test("the loss of masked images reaches the weights, and no running statistics", async () => {
  const gpu = await testGpu();
  const after = async (maskedWeight: number) => {
    const { network, stage } = stageOf(gpu, { maskedWeight });
    const batch = await makeBatch(gpu, "strong", false);
    await take(stage.step(batch, 0));
    const weights = await readAll(
      new Map([...network.namedParameters()].map(([name, { array }]) => [name, array])),
    );
    const statistics = await readAll(network.namedBuffers());
    releaseBatch(batch);
    stage[Symbol.dispose]();
    network.dispose();
    return { weights, statistics };
  };
  const [none, some, more] = [await after(0), await after(1), await after(3)];
  assert.deepEqual(some.statistics, none.statistics);
  // The first update goes along the gradient, so what the loss adds to it grows with its weight.
  const [once, thrice] = [some, more].map(({ weights }) =>
    [...weights].flatMap(([name, values]) => {
      const own = none.weights.get(name) as Float32Array;
      return Array.from(values, (value, i) => value - own[i]);
    })
  );
  const norm = (values: number[]) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
  assert.ok(norm(once) > 1e-5, `${norm(once)}`);
  const off = norm(thrice.map((value, i) => value - 3 * once[i]));
  assert.ok(off < 0.01 * norm(thrice), `${off} of ${norm(thrice)}`);
});

Deno.test("a step without what its settings need is refused in a sentence", async () => {
  const gpu = await testGpu();
  for (
    const [options, message] of [
      [{ mix: "classes" }, /Cannot run stage1 as its mix needs target.pasted .* set mix to none/],
      [{ maskedWeight: 1 }, /its maskedWeight needs target.masked .* set maskedWeight to 0/],
    ] as const
  ) {
    const { network, stage } = stageOf(gpu, options);
    const [batch, ...rest] = denoiseBatches(gpu, new Fill(salt), golden.stage1);
    assert.throws(() => stage.step(batch, 0), { name: "TypeError", message });
    releaseBatch([batch, rest]);
    stage[Symbol.dispose]();
    network.dispose();
  }
});
