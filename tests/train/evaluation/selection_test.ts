// Which network of a stage is the best, with labels and without, and what becomes of it.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { Information } from "../../../train/evaluation/information.ts";
import { type LabelFree, labelFreeScore } from "../../../train/evaluation/label_free.ts";
import { publishedMeans } from "../../../train/evaluation/metrics.ts";
import { PUBLISHED_SUBSETS } from "../../../train/data/classes.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { BestNetwork } from "../../../train/evaluation/selection.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { tinyConfig, withoutCost } from "../_resume.ts";
import { assertSame } from "../../_same.ts";
import { SILENT } from "../_observer.ts";

Deno.test("information is full for sure and balanced predictions, and nothing for collapsed or unsure ones", () => {
  const of = (pixels: number[][]) => {
    const information = new Information(2);
    const planes = [0, 1].flatMap((k) => pixels.map((pixel) => pixel[k]));
    information.add(Float32Array.from(planes), [1, 2, 1, pixels.length]);
    return information.percent;
  };
  assert.equal(of([[1, 0], [0, 1]]), 100);
  assert.equal(of([[1, 0], [1, 0]]), 0);
  assert.equal(of([[0.5, 0.5], [0.5, 0.5]]), 0);
  // H(0.5) − H(0.25) = ln 2 − (0.25 ln 4 + 0.75 ln 4/3)
  const expected = 100 * (1 - (0.25 * Math.log(4) + 0.75 * Math.log(4 / 3)) / Math.LN2);
  assert.ok(Math.abs(of([[0.25, 0.75], [0.75, 0.25]]) - expected) < 1e-12);
  assert.throws(() => new Information(3).add(new Float32Array(4), [1, 2, 1, 2]), RangeError);
});

Deno.test("images add to one information, whatever their number in a batch", () => {
  const planes = Float32Array.of(0.9, 0.2, 0.1, 0.8, 0.6, 0.5, 0.4, 0.5); // two images of two pixels
  const [together, apart] = [new Information(2), new Information(2)];
  together.add(planes, [2, 2, 1, 2]);
  apart.add(planes.subarray(0, 4), [1, 2, 1, 2]);
  apart.add(planes.subarray(4), [1, 2, 1, 2]);
  assert.ok(together.percent > 0);
  assert.equal(apart.percent, together.percent);
});

Deno.test("published means are those of 16 and 13 classes, where the classes are there", () => {
  const classIoU: Record<string, number | null> = {};
  PUBLISHED_SUBSETS[19].forEach((name, index) => classIoU[name] = index);
  const mean = (names: readonly string[]) =>
    names.reduce((sum, name) => sum + (classIoU[name] ?? 0), 0) / names.length;
  const { terrain: _, truck: __, train: ___, ...sixteen } = classIoU;
  assert.deepEqual(publishedMeans(classIoU), {
    19: 9,
    16: mean(PUBLISHED_SUBSETS[16]),
    13: mean(PUBLISHED_SUBSETS[13]),
  });
  assert.deepEqual(Object.keys(publishedMeans(sixteen)), ["13", "16"]);
  assert.deepEqual(publishedMeans({ road: 1, car: 2 }), {});
  classIoU.wall = null; // in no label and no prediction
  assert.equal(publishedMeans(classIoU)[13], mean(PUBLISHED_SUBSETS[13]));
});

Deno.test("the best is written where it is not the last, and goes where the last is as good", async () => {
  const saved: number[] = [];
  const judge = (selection: "labels" | "unsupervised") =>
    new BestNetwork({
      selection,
      steps: 4,
      best: null,
      path: "/nowhere/best",
      save: ({ step }) => Promise.resolve(void saved.push(step)),
    });
  const scores = (mIoU: number, information: number, agreement = 0) => ({
    mIoU,
    information,
    agreement,
    correlation: 100,
    classIoU: [],
    pixelAccuracy: 0,
  });
  const labels = judge("labels");
  await labels.offer(1, scores(30, 1));
  await labels.offer(2, scores(20, 9));
  await labels.offer(3, scores(30, 3));
  assert.deepEqual([labels.best, labels.isEarlier, saved], [{ step: 3, value: 30 }, true, [1, 3]]);
  await labels.offer(4, scores(30, 2));
  assert.deepEqual([labels.best?.step, labels.isEarlier, saved], [4, false, [1, 3]]);
  const blind = judge("unsupervised");
  await blind.offer(1, scores(30, 9, 16));
  await blind.offer(2, scores(20, 1, 25));
  assert.deepEqual(blind.best, { step: 2, value: 50 }, "the label-free score alone");
  const unlabelled = judge("labels");
  await unlabelled.offer(1, scores(NaN, 5));
  assert.deepEqual(unlabelled.best, { step: 1, value: 5 }, "without labels information decides");
});

const { signal } = new AbortController();

function configOf(folder: string, out: string, values: Record<string, unknown>): RunConfig {
  const all = { ...tinyConfig(folder), evalEvery: 1, ...values, out: join(folder, out) };
  return mergeConfig(presetConfig("default"), { values: all, from: "the test" });
}

function arraysOf(path: string): Map<string, unknown> {
  const file = new Safetensors(Deno.readFileSync(path));
  return new Map([...file.entries].map(([name, { dtype }]) => {
    const values = dtype === "F32" ? file.floats(name) : file.integers(name);
    return [name, new Uint32Array(values.slice().buffer)];
  }));
}

Deno.test("a selected network is the one of its step, is handed on, and survives an interruption", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = configOf(folder, "run", {
      pipeline: ["source", "warmup"],
      select: "unsupervised",
    });
    const { stages } = await runTraining(config, gpu, SILENT, signal);
    const path = (run: string, name: string) =>
      join(folder, run, "checkpoints", `${name}.safetensors`);
    const metrics = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).trimEnd().split("\n")
      .map((line) => JSON.parse(line));
    for (const { name, steps, selected, mIoU } of stages) {
      const own = metrics.filter(({ stage }) => stage === name);
      assert.equal(own.length, steps);
      const scoreOf = (record: LabelFree) => labelFreeScore(record) ?? NaN;
      const most = Math.max(...own.map(scoreOf));
      const best = own.findLast((record) => scoreOf(record) === most);
      assert.deepEqual(selected, { step: best.step + 1, value: most });
      assert.equal(existsSync(path("run", `${name}.best`)), selected.step < steps);
      assert.equal(mIoU, best.mIoU, "the scores are those of the selected network");
      const { counts, classes } = JSON.parse(
        Deno.readTextFileSync(join(config.out, "confusion", `${name}.json`)),
      );
      const [sum, right] = [counts.flat(), counts.map((row: number[], k: number) => row[k])]
        .map((values: number[]) => values.reduce((a, b) => a + b, 0));
      assert.equal(classes.length, counts.length);
      assert.ok(Math.abs(100 * right / sum - best.pixelAccuracy) < 1e-9, "and so is the confusion");
    }
    const [source] = stages;
    assert.ok(source.selected && source.selected.step < source.steps, "an earlier one was better");

    // The next stage is the one that starts from that network.
    const start = path("run", "source.best");
    const alone = configOf(folder, "alone", {
      pipeline: ["warmup"],
      select: "unsupervised",
      base: config.out,
    });
    await runTraining(alone, gpu, SILENT, signal);
    assertSame(arraysOf(path("alone", "warmup")), arraysOf(path("run", "warmup")));

    // An interruption that cost the last checkpoint of source, and all that came after it.
    const kept = [arraysOf(start), arraysOf(path("run", "warmup")), metrics];
    const bytes = Deno.readFileSync(path("run", "source"));
    for (const name of ["warmup", "warmup.previous", "warmup.best"]) {
      if (existsSync(path("run", name))) Deno.removeSync(path("run", name));
    }
    Deno.writeFileSync(path("run", "source"), bytes.subarray(0, -5));
    const resumed = await resumeTraining(config.out, gpu, SILENT, signal);
    assert.deepEqual(resumed.stages.map(withoutCost), stages.map(withoutCost));
    const lines = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).trimEnd().split("\n");
    assertSame(
      [arraysOf(start), arraysOf(path("run", "warmup")), lines.map((line) => JSON.parse(line))],
      kept,
    );

    // A finished stage hands on the same network after a resume, too.
    for (const name of ["warmup", "warmup.previous", "warmup.best"]) {
      if (existsSync(path("run", name))) Deno.removeSync(path("run", name));
    }
    await resumeTraining(config.out, gpu, SILENT, signal);
    assertSame(arraysOf(path("run", "warmup")), kept[1]);
  }));

Deno.test("labels that are not there cannot select", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, "run", { pipeline: ["source"] });
    const gpu = await testGpu();
    await runTraining(config, gpu, SILENT, signal);
    const { directory } = config.data.streets;
    Deno.removeSync(join(directory, "target", "gtFine"), { recursive: true });
    const own = (select: string) =>
      configOf(folder, select, {
        pipeline: ["source"],
        select,
        data: {
          ...(tinyConfig(folder).data as Record<string, unknown>),
          sourceDirectory: join(directory, "source"),
          targetDirectory: join(directory, "target"),
        },
      });
    await assert.rejects(
      runTraining(own("labels"), gpu, SILENT, signal),
      dataError("Cannot select networks by labels", 'set select to "unsupervised"'),
    );
    const { stages } = await runTraining(own("unsupervised"), gpu, SILENT, signal);
    const [stage] = stages;
    assert.ok(Number.isNaN(stage.mIoU) && (stage.selected?.value ?? 0) > 0);
    assert.ok(!existsSync(join(folder, "unsupervised", "confusion")));
    const again = await resumeTraining(join(folder, "unsupervised"), gpu, SILENT, signal);
    assert.deepEqual(again.stages, stages);
  }));
