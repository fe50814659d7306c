// Hard pseudo labels as files, and the stage that learns from them.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { GpuArray } from "../../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
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
import { Distil, type DistilBatch } from "../../../../train/stages/distil/distil.ts";
import { ViewTransform } from "../../../../train/views/views.ts";
import { testGpu } from "../../../_device.ts";
import { namesIn, withFolder } from "../../_folder.ts";
import { assertSame } from "../../../_same.ts";

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

/** Softmax in doubles. */
function softmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const exps = logits.map((value) => Math.exp(value - most));
  const sum = exps.reduce((a, b) => a + b);
  return exps.map((value) => value / sum);
}

for (const teacherView of ["weak", "strong"] as const) {
  for (const formula of ["paper", "official"] as const) {
    Deno.test(`distillation from a teacher that sees the ${teacherView} view, ${formula}, has the losses of equation 12`, async () => {
      const gpu = await testGpu();
      const [height, width] = [32, 32];
      const size = { height: height / 4, width: width / 4 };
      const noise = (salt: number) =>
        gpu.upload(
          Float32Array.from(
            { length: 3 * height * width },
            (_, i) => ((i * 7919 + salt * 15485863) % 1009) / 1009,
          ),
          [1, 3, height, width],
          "image",
        );
      const flip = new ViewTransform({ height, width }, [{ kind: "flip" }]);
      const pixels = size.height * size.width;
      const labels = Uint32Array.from({ length: pixels }, (_, i) => i % 3 === 0 ? 255 : i % K);
      const batch: DistilBatch = {
        source: {
          images: noise(1),
          labels: gpu.upload(new Uint32Array(height * width), [1, height, width], "labels"),
        },
        target: {
          weak: noise(2),
          strong: noise(3),
          strongViews: [flip],
          labels: gpu.upload(labels, [1, size.height, size.width], "pseudo labels"),
        },
      };
      // The student's logits, before it learns: with a rate of next to nothing, after it as well.
      const student = new DeepLab(gpu, { ...TINY, seed: 1 });
      const teacher = new DeepLab(gpu, { ...TINY, seed: 2 });
      const ofStudent = await logitsOf(student, batch.target.strong, true);
      const seen = teacherView === "weak" ? batch.target.weak : batch.target.strong;
      const ofTeacher = await logitsOf(teacher, seen, false);
      const at = (logits: number[][], i: number) => softmax(logits.map((plane) => plane[i]));
      let [pseudo, counted, divergence] = [0, 0, 0];
      for (let i = 0; i < pixels; i++) {
        const x = i % size.width;
        const place = teacherView === "weak" ? i - x + size.width - 1 - x : i;
        const [p, q] = [at(ofTeacher, place), at(ofStudent, i)];
        if (labels[i] < K) {
          pseudo -= Math.log(q[labels[i]]);
          counted++;
        }
        for (let k = 0; k < K; k++) {
          divergence += p[k] * (Math.log(p[k]) - (formula === "paper" ? Math.log(q[k]) : q[k]));
        }
      }
      const expected = {
        pseudo: pseudo / counted,
        distillation: divergence / pixels / (formula === "paper" ? 1 : K),
      };

      const options = {
        learningRate: 1e-9,
        headFactor: 1,
        momentum: 0.9,
        weightDecay: 0,
        scheduleSteps: 10,
        power: 0.9,
        rampSteps: 0,
        seed: 0,
      };
      using stage = new Distil(student, teacher, { ...options, beta: 1, teacherView, formula });
      const teacherBefore = await teacher.namedParameters().values().next().value?.read();
      const losses = stage.step(batch, 0);
      assert.deepEqual(Object.keys(losses), ["source", "pseudo", "distillation"]);
      for (const [name, value] of Object.entries(expected)) {
        const [found = NaN] = await (losses[name] as GpuArray).read();
        const tolerance = 1e-4 * Math.max(1, Math.abs(value));
        assert.ok(Math.abs(found - value) < tolerance, `${name} is ${found}, expected ${value}`);
      }
      const teacherAfter = await teacher.namedParameters().values().next().value?.read();
      assertSame(teacherAfter, teacherBefore, "the teacher is frozen");
      for (const array of Object.values(losses)) array.release();
      student.dispose();
    });
  }
}

/** A network's logits at a quarter of the image, by class. */
async function logitsOf(
  network: DeepLab,
  image: GpuArray,
  training: boolean,
): Promise<number[][]> {
  const [, , height = 0, width = 0] = image.shape;
  network.train(training);
  const tensor = noGrad(() =>
    scope(() =>
      resizeBilinear(network.forward(input(image)).logits, {
        height: height / 4,
        width: width / 4,
      })
    )
  );
  const values = Array.from(await tensor.read());
  tensor.dispose();
  const plane = values.length / K;
  return Array.from({ length: K }, (_, k) => values.slice(k * plane, (k + 1) * plane));
}
