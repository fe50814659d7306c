import assert from "node:assert/strict";
import {
  classTable,
  LiveProgress,
  openProgress,
  PlainProgress,
  type Screen,
} from "../../cli/progress.ts";
import { formatDuration } from "../../train/base/text.ts";
import { formatProfile } from "../../cli/profile.ts";
import type { StageResult, TrainingObserver } from "../../train/run/observer.ts";

function fakeScreen(isTerminal: boolean): Screen & { text: string } {
  return {
    stream: "stderr",
    isTerminal,
    text: "",
    write(text) {
      this.text += text;
    },
  };
}

const RESULT: StageResult = {
  name: "source",
  steps: 20,
  mIoU: 51.25,
  classIoU: { road: 80, sky: 22.5 },
  pixelAccuracy: 90,
  seconds: 65,
};

/** A stage of twenty steps with one evaluation. */
function play(observer: TrainingObserver): void {
  const { mIoU, classIoU, pixelAccuracy } = RESULT;
  const scores = { stage: "source", mIoU, classIoU, pixelAccuracy };
  observer.stageStart({ name: "source", steps: 20, firstStep: 0 });
  for (let step = 0; step < 20; step++) {
    observer.step({
      stage: "source",
      step,
      steps: 20,
      losses: { source: 2 / (step + 1), regulariser: 0.5 },
      learningRate: 1e-3,
      stepsPerSecond: 2,
    });
    if (step === 9) observer.evaluation({ ...scores, step: step + 1 });
  }
  observer.evaluation({ ...scores, step: 20 });
  observer.stageEnd(RESULT);
}

Deno.test("a pipe gets plain lines: the first step, every tenth, scores between them and the end", () => {
  const screen = fakeScreen(false);
  play(new PlainProgress(screen, 10));
  assert.deepEqual(screen.text.split("\n"), [
    "source: 20 steps",
    "source  1/20 | loss source 2.00 regulariser 0.500 | 2.0/s | 0:10 left",
    "source 10/20 | loss source 0.200 regulariser 0.500 | 2.0/s | 0:05 left",
    "source step 10: mIoU 51.3 %, pixel accuracy 90.0 %",
    "source 20/20 | loss source 0.100 regulariser 0.500 | 2.0/s | 0:00 left",
    "source: 20 steps in 1:05, mIoU 51.3 %, pixel accuracy 90.0 %",
    "",
  ]);
});

Deno.test("the terms of stage 1 fit a hundred columns; waiting is told where it is long", () => {
  const screen = fakeScreen(false);
  const progress = new PlainProgress(screen, 10);
  progress.stageStart({ name: "stage1", steps: 330, firstStep: 0 });
  const report = {
    ...{ stage: "stage1", steps: 330, learningRate: 2e-3, stepsPerSecond: 3.5 },
    losses: { source: 0.336, symmetric: 2.243, structure: 0.244, regulariser: 50.561 },
  };
  progress.step({ ...report, step: 0, waitShare: 0.09 });
  progress.step({ ...report, step: 9, waitShare: 0.11 });
  const [, first, tenth] = screen.text.split("\n");
  assert.equal(
    first,
    "stage1   1/330 | loss source 0.336 symmetric 2.24 structure 0.244 regulariser 51 | 3.5/s | 1:34 left",
  );
  assert.equal(first.length, 100);
  assert.match(tenth, / left \| 11 % waiting for data$/);
});

Deno.test("a pipe never gets a control character", async () => {
  const screen = fakeScreen(false);
  const progress = await openProgress(screen, 1);
  play(progress);
  progress.close();
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(screen.text, /[\x00-\x09\x0b-\x1f]/);
});

Deno.test("a terminal gets one bar a stage with loss, mIoU, speed and time left", () => {
  const calls: unknown[][] = [];
  const screen = fakeScreen(true);
  const progress = new LiveProgress(screen, (options) => {
    calls.push(["new", options.gracefulExit]);
    return {
      start: (...rest) => calls.push(["start", ...rest]),
      update: (...rest) => calls.push(["update", ...rest]),
      render: (...rest) => calls.push(["render", ...rest]),
      stop: () => calls.push(["stop"]),
    };
  });
  play(progress);
  progress.close();
  const waiting = { stage: "source", loss: "loss –", mIoU: "–", speed: "–", left: "–" };
  assert.deepEqual(calls.slice(0, 3), [
    ["new", false],
    ["start", 20, 0, waiting],
    ["update", 1, {
      loss: "loss source 2.00 regulariser 0.500",
      mIoU: "–",
      speed: "2.0",
      left: "0:10",
    }],
  ]);
  assert.deepEqual(calls.slice(-2), [["update", 20, { mIoU: "51.3 %" }], ["stop"]]);
  assert.equal(screen.text, "source: 20 steps in 1:05, mIoU 51.3 %, pixel accuracy 90.0 %\n");
  progress.stageEnd({ ...RESULT, mIoU: 60 });
  progress.stageStart({ name: "stage1", steps: 1, firstStep: 0 });
  const [, , , shown] = calls.at(-1) as [string, number, number, { mIoU: string }];
  assert.equal(shown.mIoU, "60.0 %", "the next stage begins with what the last one has ended with");
});

Deno.test("the real bar draws on the screen that it is given a terminal for, and stops", async () => {
  const progress = await openProgress(fakeScreen(true), 1);
  progress.stageStart({ name: "source", steps: 3, firstStep: 0 });
  progress.step({
    stage: "source",
    step: 1,
    steps: 3,
    losses: { source: 1 },
    learningRate: 1,
    stepsPerSecond: 1,
  });
  progress.close();
  progress.close();
});

Deno.test("the table has a row for every class scored and a column for every stage", () => {
  const table = classTable([RESULT, {
    ...RESULT,
    name: "stage1",
    classIoU: { road: 81, sky: null },
  }]);
  const rows = table.split("\n").map((line) => line.trim().split(/\s{2,}/));
  assert.deepEqual(rows.filter(([name]) => !name.startsWith("─")), [
    ["IoU in %", "source", "stage1"],
    ["road", "80.0", "81.0"],
    ["sky", "22.5", "–"],
    ["mIoU", "51.3", "51.3"],
    ["pixel accuracy", "90.0", "90.0"],
  ]);
  assert.equal(classTable([]), "");
});

/** Scores of held-out source images. */
const SOURCE = { mIoU: 72.75, classIoU: {}, pixelAccuracy: 91, shares: {} };

Deno.test("scores of held-out source images stand beside the target's, which may be unknown", () => {
  const screen = fakeScreen(false);
  const progress = new PlainProgress(screen, 10);
  const unknown = { mIoU: NaN, classIoU: {}, pixelAccuracy: NaN };
  progress.evaluation({ stage: "source", step: 3, ...RESULT, source: SOURCE });
  progress.evaluation({ stage: "source", step: 3, ...unknown, information: 40, source: SOURCE });
  progress.stageEnd({ ...RESULT, source: SOURCE });
  assert.deepEqual(screen.text.split("\n"), [
    "source step 3: mIoU 51.3 %, pixel accuracy 90.0 %, source mIoU 72.8 %",
    "source step 3: mIoU unknown without labels, information 40.0 %, source mIoU 72.8 %",
    "source: 20 steps in 1:05, mIoU 51.3 %, pixel accuracy 90.0 %, source mIoU 72.8 %",
    "",
  ]);
  const table = classTable([{ ...RESULT, source: SOURCE }, { ...RESULT, name: "stage1" }]);
  assert.match(table, /\nmIoU of source +72\.8 +–$/);
  assert.match(classTable([{ ...RESULT, ...unknown, source: SOURCE }]), /\nmIoU of source +72\.8$/);
  assert.equal(classTable([{ ...RESULT, ...unknown }]), "", "nothing is known");
});

Deno.test("the table marks the network that is handed on", () => {
  const table = classTable([RESULT, { ...RESULT, name: "stage1", handedOn: true }]);
  assert.match(table, /^IoU in % +source +stage1\*\n/);
  assert.match(table, /\n\* the network handed on$/);
  assert.doesNotMatch(classTable([RESULT]), /\*/);
});

Deno.test("without labels the label-free score is shown, and of earlier versions the information", () => {
  const screen = fakeScreen(false);
  const observer = new PlainProgress(screen, 5);
  const unknown = { ...RESULT, stage: "source", step: 7, mIoU: NaN, information: 12 };
  observer.evaluation({ ...unknown, agreement: 25, correlation: 64 });
  observer.evaluation(unknown);
  const lines = screen.text.split("\n");
  assert.match(lines[0], /mIoU unknown without labels, label-free score 40\.0 %/);
  assert.match(lines[1], /mIoU unknown without labels, information 12\.0 %/);
});

Deno.test("the table keeps the order of the data set's own classes, also of those that Cityscapes has", () => {
  const classIoU = { kerb: 10, sky: 20, "tram rail": 30, road: 40 };
  const table = classTable([{ ...RESULT, classIoU }, { ...RESULT, name: "stage1", classIoU }]);
  const names = table.split("\n").map((line) => line.split(/\s{2,}/)[0]);
  assert.deepEqual(names.slice(2, -3), Object.keys(classIoU));
});

Deno.test("durations read as a clock", () => {
  assert.equal(formatDuration(7), "0:07");
  assert.equal(formatDuration(754), "12:34");
  assert.equal(formatDuration(3723), "1:02:03");
  assert.equal(formatDuration(Infinity), "–");
});

Deno.test("the profile shows the most expensive kernels and sums up the rest", () => {
  const kernel = (index: number) => ({
    label: `kernel ${index}`,
    calls: 2,
    milliseconds: 100 - index,
    share: 0.05,
    flops: 0,
    bytes: 0,
    gigaflops: index === 0 ? 42 : 0,
    gigabytes: 1.25,
  });
  const lines = formatProfile(Array.from({ length: 17 }, (_, index) => kernel(index))).split("\n");
  assert.match(lines[0], /^kernel +calls +ms +share +GFLOP\/s +GB\/s$/);
  assert.match(lines[2], /^kernel 0 +2 +100\.0 +5\.0 % +42\.0 +1\.3$/);
  assert.match(lines[3], /^kernel 1 +2 +99\.0 +5\.0 % +– +1\.3$/);
  assert.equal(lines.at(-1), "and 2 more kernels, 169.0 ms");
});
