// Hard pseudo labels as files.

import assert from "node:assert/strict";
import { join } from "node:path";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { CLASSES, STREETS_TRAIN_IDS } from "../../../../train/data/classes.ts";
import { GTA5 } from "../../../../train/data/layouts.ts";
import { classSet } from "../../../../train/run/run_data.ts";
import { openDataset } from "../../../../train/data/dataset.ts";
import { encodeImage, readImage, readLabel } from "../../../../train/images/image.ts";
import { Loader } from "../../../../train/data/loader.ts";
import {
  withPseudoLabels,
  writePseudoLabels,
} from "../../../../train/stages/distil/pseudo_labels.ts";
import { testGpu } from "../../../_device.ts";
import { namesIn, withFolder } from "../../_folder.ts";

const CLASSES_OF_STREETS = classSet(STREETS_TRAIN_IDS);
const K = STREETS_TRAIN_IDS.length;
const [WIDTH, HEIGHT] = [40, 24];
const TINY = {
  blocks: [1, 1, 1, 1],
  width: 4,
  headChannels: 8,
  groups: 4,
  dilations: [1, 2],
  classes: K,
  dropout: 0,
} as const;

/** Two images of noise in the layout of GTA5. */
function writeImages(folder: string): void {
  Deno.mkdirSync(join(folder, "images"));
  for (const [index, name] of ["00001", "00002"].entries()) {
    const data = Uint8Array.from(
      { length: WIDTH * HEIGHT * 3 },
      (_, i) => ((i * 7919 + index * 104729) >> 3) % 256,
    );
    const bytes = encodeImage({ data, width: WIDTH, height: HEIGHT });
    Deno.writeFileSync(join(folder, "images", `${name}.png`), bytes);
  }
}

Deno.test("pseudo labels are the mean of an image and its mirror image, above the threshold", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    writeImages(folder);
    const dataset = openDataset({ root: folder, layout: GTA5, split: "train", trainIds: null });
    using network = new DeepLab(gpu, { ...TINY, seed: 5 });
    const before = gpu.memory.live - gpu.memory.derived;
    const { signal } = new AbortController();
    const options = (name: string, threshold: number) => ({
      folder: join(folder, name),
      classes: CLASSES_OF_STREETS,
      threshold,
      longSide: WIDTH,
      signal,
    });
    const all = options("all", 0);
    await writePseudoLabels(network, dataset, all);
    assert.equal(gpu.memory.live - gpu.memory.derived, before, "bytes left behind");
    assert.deepEqual(namesIn(all.folder), ["colour", "confidence", "label"]);

    // The mean does not know which of the two is the mirror image.
    const images = join(folder, "images");
    for (const name of namesIn(images)) {
      const { data, width, height } = readImage(join(images, name));
      const mirrored = data.map((_, i) => {
        const [pixel, channel] = [Math.floor(i / 3), i % 3];
        const x = pixel % width;
        return data[(pixel - x + width - 1 - x) * 3 + channel];
      });
      Deno.writeFileSync(join(images, name), encodeImage({ data: mirrored, width, height }));
    }
    const turned = options("turned", 0);
    await writePseudoLabels(network, dataset, turned);
    let same = 0;
    const sure = (name: string, kind: string) =>
      readLabel(join(folder, name, kind, "00001.png")).data;
    const [label, confidence] = [sure("all", "label"), sure("all", "confidence")];
    const [mirror, mirrorConfidence] = [sure("turned", "label"), sure("turned", "confidence")];
    for (let i = 0; i < label.length; i++) {
      const x = i % WIDTH;
      const j = i - x + WIDTH - 1 - x;
      if (label[i] === mirror[j]) same++;
      const difference = Math.abs(confidence[i] - mirrorConfidence[j]);
      assert.ok(difference <= 1, `confidence at ${i} is ${confidence[i]}, ${mirrorConfidence[j]}`);
    }
    assert.ok(same >= 0.99 * label.length, `${same} of ${label.length} labels are the same`);

    const sorted = Array.from(mirrorConfidence).sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1] / 255;
    const some = options("some", median);
    await writePseudoLabels(network, dataset, some);
    const [kept, colours] = [
      sure("some", "label"),
      readImage(join(some.folder, "colour/00001.png")),
    ];
    let unlabelled = 0;
    for (let i = 0; i < kept.length; i++) {
      const close = Math.abs(mirrorConfidence[i] / 255 - median) < 1 / 255;
      const isKept = mirrorConfidence[i] / 255 > median;
      if (!close) assert.equal(kept[i], isKept ? mirror[i] : 0, `label at ${i}`);
      if (kept[i] === 0) unlabelled++;
      const colour = CLASSES.find(({ labelId }) => labelId === kept[i])?.colour ?? [0, 0, 0];
      assert.deepEqual([...colours.data.subarray(i * 3, i * 3 + 3)], [...colour]);
    }
    assert.ok(unlabelled > 0 && unlabelled < kept.length);

    using loader = new Loader({ dataset: withPseudoLabels(dataset, some), order: "sequential" });
    const [sample] = await loader.next(1);
    const ids = Array.from(kept, (id) => CLASSES_OF_STREETS.trainIds[id]);
    assert.deepEqual(Array.from(sample?.label?.data ?? []), ids, "a data set reads them");
  }));

Deno.test("every class keeps its surest pixels, whatever the threshold", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    writeImages(folder);
    const dataset = openDataset({ root: folder, layout: GTA5, split: "train", trainIds: null });
    using network = new DeepLab(gpu, { ...TINY, seed: 5 });
    const { signal } = new AbortController();
    /** Label ids and confidences of both images, as the threshold and the share leave them. */
    const labelled = async (threshold: number, keep: number) => {
      const options = { folder: join(folder, `${threshold}-${keep}`), classes: CLASSES_OF_STREETS };
      const how = { ...options, threshold, keep, longSide: WIDTH, signal };
      await writePseudoLabels(network, dataset, how);
      const all = (kind: string) =>
        ["00001", "00002"].flatMap((name) => [
          ...readLabel(join(options.folder, kind, `${name}.png`)).data,
        ]);
      return { ids: all("label"), confidence: all("confidence") };
    };
    const every = await labelled(0, 0);
    // An untrained network is never sure: without a share, nothing is left.
    assert.ok((await labelled(0.99, 0)).ids.every((id) => id === 0));
    for (const keep of [0.3, 1]) {
      const { ids, confidence } = await labelled(0.99, keep);
      assert.deepEqual(confidence, every.confidence, "the confidence of all pixels stays");
      for (const id of new Set(every.ids)) {
        const pixels = [...every.ids.keys()].filter((at) => every.ids[at] === id);
        const kept = pixels.filter((at) => ids[at] === id);
        const left = pixels.filter((at) => ids[at] !== id);
        assert.ok(left.every((at) => ids[at] === 0));
        assert.ok(kept.length >= keep * pixels.length, `${kept.length} of ${pixels.length}`);
        const least = Math.min(...kept.map((at) => confidence[at]));
        assert.ok(left.every((at) => confidence[at] < least), "the surest come first");
        const surer = kept.filter((at) => confidence[at] > least);
        assert.ok(surer.length < keep * pixels.length, "and no more than the share needs");
      }
    }
    const low = await labelled(0.01, 0.3);
    assert.deepEqual(low.ids, every.ids, "a share takes nothing from a lower threshold");
  }));
