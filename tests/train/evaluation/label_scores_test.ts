// Measurements of the labels that a stage makes.

import assert from "node:assert/strict";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { CLASSES, STREETS_TRAIN_IDS } from "../../../train/data/classes.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import { decodeItem } from "../../../train/data/dataset.ts";
import { readImage } from "../../../train/images/image.ts";
import { scoreLabels, spreadOver } from "../../../train/evaluation/label_scores.ts";
import { ConfusionMatrix } from "../../../train/evaluation/metrics.ts";
import { runTraining } from "../../../train/run/run.ts";
import { testGpu } from "../../_device.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";
import { assertSame } from "../../_same.ts";
import { SILENT } from "../_observer.ts";

const STEPS = 3;

function configOf(folder: string, out: string, values: Partial<RunConfig> = {}): RunConfig {
  return mergeConfig(presetConfig("quick"), {
    values: { ...tinyConfig(folder, STEPS), out: join(folder, out), ...values },
    from: "the test",
  });
}

Deno.test("labels are scored against the target's own, where there are any", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { openLabelledTarget, classes } = await openRunData(
      configOf(folder, "run").data,
      () => {},
    );
    const dataset = spreadOver(openLabelledTarget(), 3);
    assert.deepEqual(dataset.items.map(({ name }) => Number(name.match(/_(\d+)_/)?.[1])), [
      1,
      2,
      4,
    ]);
    const count = classes.names.length;
    using network = new DeepLab(gpu, {
      ...presetConfig("quick").network,
      classes: count,
      width: 4,
      dilations: [1],
    });
    const before = gpu.memory.live - gpu.memory.derived;
    // A quarter of the size; of four columns the first has no label, the others have class 1, 2, 3.
    const [height, width] = [8, 16];
    const made = Uint32Array.from({ length: height * width }, (_, i) => [255, 1, 2, 3][i % 4]);
    const scores = await scoreLabels(
      network,
      (samples) => {
        const data = samples.flatMap(() => [...made]);
        return gpu.upload(Uint32Array.from(data), [samples.length, height, width], "labels");
      },
      dataset,
      64,
    );
    assert.equal(gpu.memory.live - gpu.memory.derived, before, "bytes left behind");

    const matrix = new ConfusionMatrix(count);
    let [labelled, all] = [0, 0];
    for (const item of dataset.items) {
      const { label } = decodeItem(item, dataset.trainIds);
      assert.ok(label);
      const predicted = label.data.map((_, i) => {
        const [x, y] = [i % label.width, Math.floor(i / label.width)];
        return made[Math.floor(y / 4) * width + Math.floor(x / 4)];
      });
      const kept = [...label.data.keys()].filter((i) => predicted[i] !== 255);
      matrix.addPixels(kept.map((i) => label.data[i]), kept.map((i) => predicted[i]));
      labelled += kept.filter((i) => label.data[i] < count).length;
      all += label.data.filter((id) => id < count).length;
    }
    assert.deepEqual(scores.labels, matrix.scores());
    assert.equal(scores.coverage, 100 * labelled / all);
    assert.ok(scores.prediction.pixelAccuracy > 0 && scores.prediction.mIoU > 0);
  }));

function metricsOf({ out }: RunConfig): Record<string, unknown>[] {
  const lines = Deno.readTextFileSync(join(out, "metrics.jsonl")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line));
}

Deno.test("watching labels changes neither network nor losses, and leaves records and pictures", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { signal } = new AbortController();
    const run = async (out: string, every: number) => {
      const config = configOf(folder, out, {
        pipeline: ["stage1"],
        labelWatch: { every, images: 4, pictures: 2 },
      });
      await runTraining(config, gpu, SILENT, signal);
      return config;
    };
    const [bare, watched] = [await run("bare", 0), await run("watched", 2)];
    const records = metricsOf(watched);
    const measured = records.filter(({ labels }) => labels !== undefined);
    assert.deepEqual(records.filter(({ labels }) => labels === undefined), metricsOf(bare));
    const places = measured.map(({ stage, step, updates }) => [stage, step, updates]);
    assert.deepEqual(places, [["stage1", 0, 0], ["stage1", 1, 2], ["stage1", 2, 3]]);
    const names = STREETS_TRAIN_IDS.map((id) => CLASSES[id].name);
    for (const { labels, prediction } of measured as Record<string, Record<string, number>>[]) {
      assert.deepEqual(Object.keys(labels.classIoU), names);
      assert.equal(labels.coverage, 100, "stage 1 labels every pixel");
      assert.ok(labels.pixelAccuracy >= 0 && labels.pixelAccuracy <= 100);
      assert.ok(prediction.mIoU >= 0 && prediction.mIoU <= 100);
    }
    const pictures = join(watched.out, "samples", "stage1");
    assert.deepEqual(namesIn(pictures), ["step_00000.png", "step_00002.png", "step_00003.png"]);
    const { width, height } = readImage(join(pictures, "step_00002.png"));
    assert.deepEqual([width, height], [4 * 66 - 2, 2 * 34 - 2]);

    const [first, second] = [bare, watched].map(({ out }) =>
      new Safetensors(Deno.readFileSync(join(out, "checkpoints", "stage1.safetensors")))
    );
    // The encoder's running statistics follow what it sees last; every step overwrites them.
    const kept = [...first.entries.keys()].filter((name) => !/^encoder.*running/.test(name));
    for (const name of kept.filter((name) => first.entry(name).dtype === "F32")) {
      assertSame(second.floats(name), first.floats(name), name);
    }
  }));
