// Evaluation, against the same done pixel by pixel on the host.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { tensor } from "../../../nn/tensor.ts";
import { type Dataset, decodeItem, openDataset } from "../../../train/data/dataset.ts";
import { GTA5 } from "../../../train/data/layouts.ts";
import { evaluationOf, measure } from "../../../train/evaluation/evaluate.ts";
import { forEachImageBatch } from "../../../train/evaluation/image_batches.ts";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import type { RgbImage } from "../../../train/images/rgb.ts";
import { Loader } from "../../../train/data/loader.ts";
import { ConfusionMatrix, type Scores } from "../../../train/evaluation/metrics.ts";
import { type Nd, seededRandom } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { resizeBilinear } from "../../_reference/spatial.ts";
import { withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

const CLASSES = 4;
const LONG_SIDE = 48;
/** Sizes in the order of the data set: what has one size goes through the network together. */
const [WIDE, TALL, SQUARE] = [[12, 7], [9, 13], [8, 8]] as const;
const SIZES = [WIDE, WIDE, WIDE, TALL, WIDE, SQUARE, SQUARE, WIDE, WIDE, WIDE];
/** Label ids are train ids, 4 is not predicted. */
const TRAIN_IDS = [0, 1, 2, 3, 255];

/** Noise, labelled by noise in which no pixel is class 3. */
function makeDataset(root: string, trainIds: readonly number[] | null = TRAIN_IDS): Dataset {
  const random = seededRandom(3);
  for (const [index, [width, height]] of SIZES.entries()) {
    const bytes = (count: number, below: number) =>
      Uint8Array.from({ length: count }, () => Math.floor(random() * below));
    const image = { data: bytes(width * height * 3, 256), width, height };
    const label = bytes(width * height, CLASSES).map((id) => id === 3 ? 4 : id);
    write(join(root, "images", `${index}.png`), encodeImage(image));
    write(join(root, "labels", `${index}.png`), encodeLabel({ data: label, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "val", trainIds });
}

async function makeNetwork(): Promise<DeepLab> {
  return new DeepLab(await testGpu(), {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: 8,
    groups: 4,
    dilations: [1],
    dropout: 0.5,
    seed: 2,
  });
}

/** [1, 3, height, width] in 0 to 1. */
function planesOf({ data, width, height }: RgbImage): Nd {
  const plane = width * height;
  const planes = Float64Array.from(
    { length: 3 * plane },
    (_, i) => (data[i % plane * 3 + Math.floor(i / plane)] as number) / 255,
  );
  return { data: planes, shape: [1, 3, height, width] };
}

async function evaluate(network: DeepLab, loader: Loader): Promise<Scores> {
  return (await measure(network, loader, LONG_SIDE)).confusion.scores();
}

/** Scores, one image after the other. */
async function scoreOnHost(network: DeepLab, { items, trainIds }: Dataset): Promise<Scores> {
  const matrix = new ConfusionMatrix(CLASSES);
  network.eval();
  for (const item of items) {
    const { image, label } = decodeItem(item, trainIds);
    const { width, height } = image;
    const factor = LONG_SIDE / Math.max(width, height);
    const size = { height: Math.round(height * factor), width: Math.round(width * factor) };
    const { data, shape } = resizeBilinear(planesOf(image), size);
    using x = tensor(network.gpu, Float32Array.from(data), shape);
    using logits = noGrad(() => scope(() => network.forward(x).logits));
    const small = { data: Float64Array.from(await logits.read()), shape: logits.shape };
    const full = resizeBilinear(small, image).data;
    const plane = width * height;
    const prediction = Uint8Array.from({ length: plane }, (_, pixel) => {
      const scores = Array.from({ length: CLASSES }, (_, k) => full[k * plane + pixel] as number);
      const [best = 0, second = 0] = scores.toSorted((a, b) => b - a);
      assert.ok(best - second > 5e-6, "rounding may decide a pixel: choose another seed");
      return scores.indexOf(best);
    });
    matrix.addPixels(label?.data ?? [], prediction);
  }
  network.train();
  return matrix.scores();
}

Deno.test("scores are those of predictions made one by one on the host", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const expected = await scoreOnHost(network, dataset);
    const right = expected.classIoU.map((value) => value === null ? -1 : Math.sign(value));
    assert.deepEqual(right, [1, 1, 1, 0], "all classes are predicted, three are labelled");
    using loader = new Loader({ dataset, order: "sequential" });
    await loader.next(3); // evaluation starts at the first image all the same
    const before = network.gpu.memory.live;
    assert.deepEqual(await evaluate(network, loader), expected);
    assert.deepEqual(await evaluate(network, loader), expected, "a second time");
    assert.equal(network.gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("evaluation uses running statistics and no dropout, and leaves the mode as it was", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    using loader = new Loader({ dataset, order: "sequential" });
    const scores = [];
    for (const training of [true, false]) {
      network.train(training);
      scores.push(await evaluate(network, loader));
      assert.ok([...network.namedModules()].every(([, module]) => module.training === training));
    }
    assert.deepEqual(scores[0], scores[1]);
    const mean = network.stateDict().get("bn1.running_mean");
    assert.deepEqual(await mean?.read(), new Float32Array(4), "statistics do not move");
  }));

Deno.test("evaluation without labels has no scores, and can be stopped", () =>
  withFolder(async (root) => {
    using network = await makeNetwork();
    const dataset = makeDataset(root);
    using labelled = new Loader({ dataset, order: "sequential" });
    using bare = new Loader({ dataset: makeDataset(root, null), order: "sequential" });
    const { mIoU, classIoU } = evaluationOf(await measure(network, bare, LONG_SIDE));
    assert.deepEqual([mIoU, classIoU], [NaN, Array(CLASSES).fill(null)]);
    const before = network.gpu.memory.live; // what the network keeps of its weights included
    const stopped = measure(network, labelled, LONG_SIDE, AbortSignal.abort());
    await assert.rejects(stopped, { name: "AbortError" });
    const failing = forEachImageBatch(network, labelled, { longSide: LONG_SIDE }, () => {
      throw new RangeError("this batch is refused");
    });
    await assert.rejects(failing, { message: "this batch is refused" });
    assert.ok(network.training, "the mode is restored");
    assert.equal(network.gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("a label that the network has no class for is not passed over", () =>
  withFolder(async (root) => {
    using loader = new Loader({ dataset: makeDataset(root, [0, 1, 2, 3, 4]), order: "sequential" });
    const network = await makeNetwork();
    await assert.rejects(measure(network, loader, LONG_SIDE), /label 4: expected a class below 4/);
    network.dispose();
  }));
