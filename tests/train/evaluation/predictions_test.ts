// What a network predicts without labels, against the same counted pixel by pixel on the host.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { tensor } from "../../../nn/tensor.ts";
import { type Dataset, decodeItem, openDataset } from "../../../train/data/dataset.ts";
import { GTA5 } from "../../../train/data/layouts.ts";
import { Loader } from "../../../train/data/loader.ts";
import {
  lookAt,
  movesBetween,
  predictedClasses,
  type Predictions,
} from "../../../train/evaluation/predictions.ts";
import { encodeImage } from "../../../train/images/image.ts";
import { assertAllClose, type Nd, seededRandom } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { resizeBilinear } from "../../_reference/spatial.ts";
import { withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

const CLASSES = 3;
const LONG_SIDE = 96;
const SIZES = [[96, 61], [96, 61], [50, 70]] as const;

/** Noise that is brighter to the left, so that a mirror image is another one. */
function makeDataset(root: string): Dataset {
  const random = seededRandom(5);
  for (const [index, [width, height]] of SIZES.entries()) {
    const data = Uint8Array.from(
      { length: width * height * 3 },
      (_, i) => Math.floor(random() * 255 * (1 - Math.floor(i / 3) % width / width)),
    );
    write(join(root, "images", `${index}.png`), encodeImage({ data, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "val", trainIds: null });
}

/** The class and its probability at every pixel of logits, [1, K, h, w]. */
function classesOf({ data, shape }: Nd): { labels: number[]; confidence: number[] } {
  const plane = (shape[2] ?? 0) * (shape[3] ?? 0);
  const pixels = Array.from({ length: plane }, (_, pixel) => {
    const logits = Array.from({ length: CLASSES }, (_, k) => data[k * plane + pixel]);
    const label = logits.indexOf(Math.max(...logits));
    const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[label]), 0);
    return { label, confidence: 1 / sum };
  });
  return {
    labels: pixels.map(({ label }) => label),
    confidence: pixels.map(({ confidence }) => confidence),
  };
}

async function logitsOf(network: DeepLab, { data, shape }: Nd): Promise<Nd> {
  using images = tensor(network.gpu, Float32Array.from(data), shape);
  using logits = noGrad(() => scope(() => network.forward(images).logits));
  return { data: Float64Array.from(await logits.read()), shape: [...logits.shape] };
}

/** The columns of images in the other order. */
function mirrored({ data, shape }: Nd): Nd {
  const width = shape[3] ?? 0;
  return { shape, data: data.map((_, i) => data[i - i % width + width - 1 - i % width]) };
}

async function lookOnHost(network: DeepLab, { items }: Dataset): Promise<Predictions> {
  network.eval();
  const counts = Array<number>(CLASSES).fill(0);
  let [confidence, alike, pixels] = [0, 0, 0];
  for (const item of items) {
    const { image: { data, width, height } } = decodeItem(item, null);
    const plane = width * height;
    const planes = Float64Array.from(
      { length: 3 * plane },
      (_, i) => data[i % plane * 3 + Math.floor(i / plane)] / 255,
    );
    const scaled = (factor: number) => ({
      height: Math.round(height * factor),
      width: Math.round(width * factor),
    });
    const size = scaled(LONG_SIDE / Math.max(width, height));
    const image = resizeBilinear({ data: planes, shape: [1, 3, height, width] }, size);
    const logits = await logitsOf(network, image);
    const [, , h = 0, w = 0] = logits.shape;
    const whole = classesOf(logits);
    const other = classesOf(mirrored(await logitsOf(network, mirrored(image))));
    const smaller = {
      height: Math.round(0.75 * size.height),
      width: Math.round(0.75 * size.width),
    };
    const ofSmaller = await logitsOf(network, resizeBilinear(image, smaller));
    const small = classesOf(resizeBilinear(ofSmaller, { height: h, width: w }));
    for (const [at, label] of whole.labels.entries()) {
      counts[label]++;
      confidence += whole.confidence[at];
      alike += (Number(label === other.labels[at]) + Number(label === small.labels[at])) / 2;
    }
    pixels += h * w;
  }
  return {
    shares: counts.map((count) => 100 * count / pixels),
    confidence: 100 * confidence / pixels,
    agreement: 100 * alike / pixels,
  };
}

Deno.test("shares, confidence and agreement are those of image, mirror image and smaller image", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const dataset = makeDataset(folder);
    using network = new DeepLab(gpu, {
      blocks: [1, 1, 1, 1],
      width: 4,
      classes: CLASSES,
      headChannels: 8,
      groups: 4,
      dilations: [1],
      dropout: 0.5,
      seed: 4,
    });
    using loader = new Loader({ dataset, order: "sequential" });
    const held = () => gpu.memory.live - gpu.memory.derived;
    const before = held();
    network.train();
    const found = await lookAt(network, loader, LONG_SIDE);
    assert.equal(network.training, true, "the mode is restored");
    const expected = await lookOnHost(network, dataset);
    // One pixel of a near tie may fall either way.
    const tolerance = { atol: 0.5, rtol: 0 };
    assertAllClose("shares", found.shares, expected.shares, tolerance);
    assertAllClose("agreement", [found.agreement], [expected.agreement], tolerance);
    assertAllClose("confidence", [found.confidence], [expected.confidence], {
      atol: 1e-3,
      rtol: 0,
    });
    assert.ok(found.agreement < 98, `${found.agreement}: the views are to differ`);
    assert.ok(found.shares.filter((share) => share > 5).length > 1, `${found.shares}`);
    network.train();
    assert.deepEqual(await lookAt(network, loader, LONG_SIDE), found, "the same bits again");
    const classes = await predictedClasses(network, loader, LONG_SIDE);
    assert.equal(network.training, true, "the mode is restored");
    assert.equal(classes.length, 2, "two images of one size, and one of another");
    const all = classes.flatMap((batch) => [...batch]);
    const shares = found.shares.map((_, id) =>
      100 * all.filter((k) => k === id).length / all.length
    );
    assertAllClose("shares of classes", shares, found.shares, { atol: 1e-9, rtol: 0 });
    await assert.rejects(
      predictedClasses(network, loader, LONG_SIDE, AbortSignal.abort()),
      { name: "AbortError" },
    );
    assert.equal(held(), before, "bytes left behind");
  }));

Deno.test("moves are counted from the class before to the class now, over all batches", () => {
  const before = [Uint32Array.of(0, 0, 1), Uint32Array.of(2)];
  const now = [Uint32Array.of(0, 1, 1), Uint32Array.of(0)];
  assert.deepEqual(movesBetween(before, now, 3).toRows(), [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
});
