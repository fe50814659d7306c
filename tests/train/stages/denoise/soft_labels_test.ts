// Soft labels and the start of the prototypes, against the same done on the host.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { packImages, warpImages, warpMask } from "../../../../kernels/warp.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
import { tensor } from "../../../../nn/tensor.ts";
import { type Dataset, openDataset } from "../../../../train/data/dataset.ts";
import { Loader } from "../../../../train/data/loader.ts";
import { GTA5 } from "../../../../train/data/layouts.ts";
import { encodeImage, readImage } from "../../../../train/images/image.ts";
import type { WeakViews } from "../../../../train/stages/common/batches.ts";
import { ViewTransform } from "../../../../train/views/view_transform.ts";
import { quarterOf } from "../../../../train/stages/common/batch.ts";
import { assertAllClose, type Nd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { softmax } from "../../../_reference/losses.ts";
import { argmax, resizeBilinear } from "../../../_reference/spatial.ts";
import { withFolder } from "../../_folder.ts";
import { write } from "../../_png.ts";
import { labelTargetInto } from "./_label_target.ts";

const CLASSES = 3;
const CHANNELS = 8;
const LONG_SIDE = 64;
/** Sizes whose long side is `LONG_SIDE`, so that nothing is resized. */
const SIZES = [[64, 40], [64, 40], [50, 64], [64, 40]] as const;

/** Noise over a ramp. */
function makeDataset(root: string): Dataset {
  const random = seededRandom(5);
  for (const [index, [width, height]] of SIZES.entries()) {
    const data = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => 128 * random() + 127 * (Math.floor(i / 3) % width) / width,
    );
    write(join(root, "images", `${index}.png`), encodeImage({ data, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "train", trainIds: null });
}

async function makeNetwork(): Promise<DeepLab> {
  return new DeepLab(await testGpu(), {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: CHANNELS,
    groups: 4,
    dilations: [1],
    dropout: 0.5,
    seed: 1,
  });
}

/** What the network says of an image. */
async function predict(network: DeepLab, path: string): Promise<{ features: Nd; logits: Nd }> {
  const { data, width, height } = readImage(path);
  const plane = width * height;
  const pixels = Float32Array.from(
    { length: 3 * plane },
    (_, i) => (data[i % plane * 3 + Math.floor(i / plane)] as number) / 255,
  );
  using x = tensor(network.gpu, pixels, [1, 3, height, width]);
  const { features, logits } = noGrad(() => scope(() => network.forward(x)));
  const values = await network.gpu.readAll([features.array, logits.array]);
  const [nd, other] = [features, logits].map(({ shape }, i) => ({
    data: Float64Array.from(values[i]),
    shape,
  }));
  features.dispose();
  logits.dispose();
  return { features: nd, logits: other };
}

Deno.test("soft labels are the network's probabilities, prototypes the means of its features", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const before = network.gpu.memory.live - network.gpu.memory.derived; // less packed weights
    const soft = join(root, "soft");
    const made = await labelTargetInto(soft, network, dataset, { longSide: LONG_SIDE });
    assert.ok(network.training, "the mode is as it was");
    const prototypes = await made.bank.prototypes.read();
    made.bank.dispose();
    assert.equal(network.gpu.memory.live - network.gpu.memory.derived, before, "bytes left behind");

    network.eval();
    const [sums, counts] = [new Float64Array(CLASSES * CHANNELS), new Float64Array(CLASSES)];
    for (const [index, { image }] of dataset.items.entries()) {
      const [width, height] = SIZES[index];
      const { features, logits } = await predict(network, image);
      const { shape, data } = made.softLabels.read(index);
      const expected = softmax(resizeBilinear(logits, quarterOf({ width, height })));
      assert.deepEqual([...shape], [...expected.shape]);
      assertAllClose(`soft labels of image ${index}`, data, expected.data);
      const { labels } = argmax(logits);
      for (let k = 0; k < CLASSES; k++) {
        const count = labels.filter((label) => label === k).length;
        if (count < 10) continue; // too few to count in this image
        counts[k] += count;
        for (let c = 0; c < CHANNELS; c++) {
          for (const [pixel, label] of labels.entries()) {
            if (label !== k) continue;
            sums[k * CHANNELS + c] += features.data[c * labels.length + pixel] as number;
          }
        }
      }
    }
    assert.ok(counts.filter((count) => count > 0).length >= 2, `pixels of classes: ${counts}`);
    const means = sums.map((sum, i) => sum / Math.max(1, counts[Math.floor(i / CHANNELS)]));
    assertAllClose("prototypes", prototypes, means);
  }));

/** Weak views of images of the data set, in two batches; half of the first one lies beyond its image. */
async function* someViews(dataset: Dataset): AsyncGenerator<WeakViews> {
  const gpu = await testGpu();
  using loader = new Loader({ dataset, order: "sequential" });
  for (const left of [30, 4]) {
    const samples = await loader.next(2);
    const views = samples.map(({ image: { height, width } }) =>
      new ViewTransform({ height, width }, [
        { kind: "crop", left, top: 2, height: 33, width: 49 },
      ])
    );
    using packed = packImages(gpu, samples.map(({ image }) => image));
    const looks = views.map((view) => view.imageView());
    yield { samples, views, images: warpImages(packed, looks, { height: 33, width: 49 }) };
  }
}

for (const padding of ["masked", "counted"] as const) {
  Deno.test(`prototypes start from the class means of random views as in the released code, padding ${padding}`, () =>
    withFolder(async (root) => {
      const gpu = await testGpu();
      const dataset = makeDataset(root);
      using network = await makeNetwork();
      const views = someViews(dataset);
      const made = await labelTargetInto(join(root, "soft"), network, dataset, {
        longSide: LONG_SIDE,
        startVariant: "official",
        views,
        padding,
      });
      const prototypes = await made.bank.prototypes.read();
      made.bank.dispose();
      network.eval();
      const means = new Float64Array(CLASSES * CHANNELS);
      const images = new Float64Array(CLASSES);
      let beyond = 0;
      for await (const { samples, views, images: pixels } of someViews(dataset)) {
        const { features, logits } = noGrad(() => scope(() => network.forward(input(pixels))));
        const [, , height, width] = logits.shape;
        const [values, scores] = await gpu.readAll([features.array, logits.array]);
        const plane = height * width;
        for (const [at, sample] of samples.entries()) {
          const look = views[at].mapView(sample.image, { height, width });
          using mask = warpMask(gpu, [look], sample.image, { height, width });
          const seen = await mask.read();
          beyond += seen.filter((value) => value === 0).length;
          const inClass = Array.from({ length: CLASSES }, (): number[] => []);
          for (let pixel = 0; pixel < plane; pixel++) {
            if (padding === "masked" && seen[pixel] === 0) continue;
            const of = Array.from(
              { length: CLASSES },
              (_, k) => scores[(at * CLASSES + k) * plane + pixel],
            );
            inClass[of.indexOf(Math.max(...of))].push(pixel);
          }
          for (const [k, members] of inClass.entries()) {
            if (members.length < 10) continue;
            images[k]++;
            for (let c = 0; c < CHANNELS; c++) {
              const sum = members.reduce(
                (sum, pixel) => sum + values[(at * CHANNELS + c) * plane + pixel],
                0,
              );
              means[k * CHANNELS + c] += sum / members.length;
            }
          }
        }
        for (const array of [pixels, features, logits]) array[Symbol.dispose]();
      }
      assert.ok(beyond > 20, `${beyond} pixels lie beyond their images`);
      assert.ok(images.some((count) => count >= 2), `images of classes: ${images}`);
      const expected = means.map((sum, i) => sum / Math.max(1, images[Math.floor(i / CHANNELS)]));
      assertAllClose("prototypes", prototypes, expected);
    }));
}

Deno.test("a stop leaves nothing on the GPU", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const before = network.gpu.memory.live - network.gpu.memory.derived; // less packed weights
    const stopped = labelTargetInto(join(root, "soft"), network, dataset, {
      longSide: LONG_SIDE,
      signal: AbortSignal.abort(),
    });
    await assert.rejects(stopped, { name: "AbortError" });
    assert.ok(network.training, "the mode is as it was");
    assert.equal(network.gpu.memory.live - network.gpu.memory.derived, before, "bytes left behind");
  }));

Deno.test("a quarter of a size is at least a pixel", () => {
  assert.deepEqual(quarterOf({ height: 512, width: 897 }), { height: 128, width: 224 });
  assert.deepEqual(quarterOf({ height: 3, width: 1 }), { height: 1, width: 1 });
});
