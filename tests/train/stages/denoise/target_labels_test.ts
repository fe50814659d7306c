// Stage 1's variants of labels: against doubles, first by themselves, then in a step of the stage.

import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps } from "../../../../kernels/warp.ts";
import { resizeBilinear } from "../../../../nn/functional/spatial.ts";
import type { DeepLab } from "../../../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
import { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { releaseBatch } from "../../../../train/stages/common/batch.ts";
import {
  Denoise,
  type DenoiseBatch,
  type DenoiseOptions,
} from "../../../../train/stages/denoise/denoise.ts";
import {
  labelTargetPixels,
  type TargetLabelOptions,
} from "../../../../train/stages/denoise/target_labels.ts";
import { assertAllClose, type Nd, randomNd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { softCrossEntropy, softmax } from "../../../_reference/losses.ts";
import { prototypeDistances, rectify } from "../../../_reference/prototypes.ts";
import { Fill } from "../../../goldens/fill.ts";
import { classes, denoiseBatches, encoderOf, golden, networkOf, take } from "../../_stages.ts";

/** What labels are made from, and the labels themselves, in doubles. */
interface Expected {
  readonly labels: Uint32Array;
  readonly confidence: number[];
  readonly soft: Nd;
}

/** ξ(ω p), with ω and p as the options have them. */
function expectedLabels(
  { softLabels, logits, distances }: Record<"softLabels" | "logits" | "distances", Nd>,
  options: TargetLabelOptions,
): Expected {
  const [, count, height, width] = logits.shape;
  const plane = height * width;
  const firstOf = (pixel: number) => Math.floor(pixel / plane) * count * plane + pixel % plane;
  const at = ({ data }: Nd, pixel: number) =>
    Array.from({ length: count }, (_, k) => data[firstOf(pixel) + k * plane]);
  const isInside = (pixel: number) => at(softLabels, pixel).some((p) => p > 0);
  const predicted = softmax(logits);
  const moving = {
    ...predicted,
    data: predicted.data.map((p, i) => {
      const pixel = Math.floor(i / (count * plane)) * plane + i % plane;
      return isInside(pixel) ? p : 0;
    }),
  };
  const weighed = options.softLabels === "moving" ? moving : softLabels;
  const equal = { ...distances, data: distances.data.map(() => 0) };
  const opposite = { ...logits, data: logits.data.map((logit) => -logit) };
  const soft = {
    prototypes: () => rectify(weighed, distances, options.temperature),
    prediction: () => rectify(weighed, opposite, 1),
    none: () => rectify(weighed, equal, 1),
  }[options.reweighting ?? "prototypes"]();
  const confidence = Array.from(
    { length: softLabels.data.length / count },
    (_, pixel) => Math.max(...at(soft, pixel)),
  );
  const threshold = options.threshold ?? 0;
  const labels = Uint32Array.from(
    confidence,
    (sure, pixel) => sure === 0 || sure < threshold ? 255 : at(soft, pixel).indexOf(sure),
  );
  return { labels, confidence, soft };
}

const upload = (gpu: Gpu, { data, shape }: Nd) =>
  gpu.upload(Float32Array.from(data), shape, "evidence");

for (const softLabels of ["fixed", "moving"] as const) {
  for (const reweighting of ["prototypes", "prediction", "none"] as const) {
    Deno.test(`labels of ${softLabels} soft labels, weighed by ${reweighting}, are those of doubles`, async () => {
      const gpu = await testGpu();
      const before = gpu.memory.live - gpu.memory.derived;
      const random = seededRandom(3);
      const shape = [2, 8, 9, 11];
      const given = softmax(randomNd(shape, random, [-3, 3]));
      // Every eleventh pixel lies outside the image.
      given.data.forEach((p, i) => given.data[i] = i % 11 === 0 ? 0 : Math.fround(p));
      const evidence = {
        softLabels: given,
        logits: randomNd(shape, random, [-3, 3]),
        distances: randomNd(shape, random, [0, 6]),
      };
      const arrays = {
        softLabels: upload(gpu, evidence.softLabels),
        logits: upload(gpu, evidence.logits),
        distances: upload(gpu, evidence.distances),
      };
      for (const [labels, threshold] of [["hard", 0], ["hard", 0.6], ["soft", 0.6]] as const) {
        const options = { temperature: 0.5, softLabels, reweighting, labels, threshold };
        const found = labelTargetPixels(arrays, options);
        const expected = expectedLabels(evidence, options);
        assert.deepEqual(await found.labels.read(), expected.labels);
        assertAllClose("confidence", await found.confidence.read(), expected.confidence);
        if (labels === "hard") assert.equal(found.soft, null);
        else assertAllClose("soft", await (found.soft as GpuArray).read(), expected.soft.data);
        const share = expected.labels.filter((label) => label === 255).length / (2 * 99);
        assert.ok(threshold === 0 ? share === 1 / 11 : share > 0.15 && share < 0.9, `${share}`);
        for (const array of Object.values(found)) array?.release();
      }
      for (const array of Object.values(arrays)) array.release();
      assert.equal(gpu.memory.live - gpu.memory.derived, before, "bytes left behind");
    });
  }
}

/** Features and logits at a quarter of the size, read. */
async function look(
  network: DeepLab,
  images: GpuArray,
): Promise<Record<"features" | "logits", Nd>> {
  const [height, width] = golden.quarter;
  const arrays = noGrad(() =>
    scope(() => {
      const { features, logits } = network.forward(input(images));
      return [features, logits].map((map) => resizeBilinear(map, { height, width }).array.retain());
    })
  );
  const [features, logits] = await Promise.all(arrays.map(async (array) => {
    const data = Float64Array.from(await array.read());
    array.release();
    return { data, shape: array.shape };
  })) as [Nd, Nd];
  return { features, logits };
}

const VARIANTS: Record<string, Partial<DenoiseOptions>> = {
  "conventional self-training": {
    reweighting: "none",
    threshold: 0.5,
    alpha: 1,
    beta: 0,
    gamma1: 0,
    studentView: "weak",
  },
  "symmetric cross entropy alone": { reweighting: "none", gamma1: 0, studentView: "weak" },
  "denoising without structure": { gamma1: 0 },
  "structure without denoising": { reweighting: "none" },
  "structure beside labels of the weak view": { studentView: "weak" },
  "moving soft labels": { softLabels: "moving" },
  "weights of the own prediction": { reweighting: "prediction" },
  "soft denoised labels": { labels: "soft" },
  "a threshold": { threshold: 0.5 },
};

for (const [name, variant] of Object.entries(VARIANTS)) {
  Deno.test(`a step with ${name} has the loss of doubles`, async () => {
    const gpu = await testGpu();
    const { options: golden1, salt } = golden.stage1;
    const options = { ...golden1, seed: 0, ...variant };
    const fill = new Fill(salt);
    using network = networkOf(gpu, fill);
    const encoder = encoderOf(gpu, fill);
    const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
    gpu.write(bank.prototypes, fill.signed("prototypes", bank.prototypes.size));
    using stage = new Denoise(network, encoder, bank, options);
    const batches = denoiseBatches(gpu, fill, golden.stage1);
    const [{ source, target }] = batches as [DenoiseBatch];
    const [height, width] = golden.quarter;
    const size = { height, width };
    const seesWeak = options.studentView === "weak";

    const nd = async (array: GpuArray) => ({
      data: Float64Array.from(await array.read()),
      shape: array.shape,
    });
    const { features, logits } = await look(encoder, target.weak);
    const distances = prototypeDistances(features, await nd(bank.prototypes));
    const softLabels = await nd(target.softLabels);
    const expected = expectedLabels({ softLabels, logits, distances }, options);
    // Views are the batch's: labels are moved as the images were.
    using weakSoft = upload(gpu, softOf(expected, options.labels === "soft"));
    using weakLabels = gpu.upload(Uint32Array.from(expected.labels), [2, height, width], "labels");
    const views = target.strongViews.map((view) => view.mapView(size, size));
    using strongSoft = warpMaps(weakSoft, views, size);
    using strongLabels = warpLabelMaps(weakLabels, views, size);
    const [labels, soft] = seesWeak ? [weakLabels, weakSoft] : [strongLabels, strongSoft];

    network.train();
    const student = await look(network, seesWeak ? target.weak : target.strong);
    const ids = Uint32Array.from(await labels.read());
    const wanted = options.labels === "soft" ? await nd(soft) : oneHot(ids, student.logits);
    const [loss] = softCrossEntropy(student.logits, wanted, ids, options.alpha, options.beta).data;

    const found = await take(stage.step({ source, target }, 0));
    assertAllClose("loss", [found.symmetric as number], [loss as number], { atol: 0, rtol: 1e-4 });
    assert.equal("structure" in found, options.gamma1 > 0);
    batches.forEach(releaseBatch);
  });
}

/** Soft labels as they are, or nothing that hard labels could lean on. */
function softOf({ soft }: Expected, isSoft: boolean): Nd {
  return isSoft ? soft : { ...soft, data: soft.data.map(() => 0) };
}

/** Hard labels as probabilities; with them the soft cross entropy is the hard one. */
function oneHot(labels: Uint32Array, { shape }: Nd): Nd {
  const [images, count, height, width] = shape as [number, number, number, number];
  const plane = height * width;
  const data = new Float64Array(images * count * plane);
  labels.forEach((label, pixel) => {
    if (label < count) {
      data[(Math.floor(pixel / plane) * count + label) * plane + pixel % plane] = 1;
    }
  });
  return { data, shape };
}
