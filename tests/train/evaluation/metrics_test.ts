import assert from "node:assert/strict";
import { byName, ConfusionMatrix, formatScores } from "../../../train/evaluation/metrics.ts";

/** IoU from its definition on sets of pixels, in percent. */
function setIoU(label: number[], prediction: number[], k: number): number | null {
  const valid = label.map((id, i) => ({ id, guess: prediction[i] })).filter(({ id }) => id !== 255);
  const union = valid.filter(({ id, guess }) => id === k || guess === k).length;
  const both = valid.filter(({ id, guess }) => id === k && guess === k).length;
  return union ? 100 * both / union : null;
}

const label = [0, 0, 1, 1, 2, 255, 2, 1, 0, 255];
const prediction = [0, 1, 1, 1, 0, 2, 2, 4, 0, 0];

Deno.test("class IoU, mIoU and accuracy follow the set definition, without ignored pixels", () => {
  const matrix = new ConfusionMatrix(5);
  matrix.addPixels(label, prediction);
  const { classIoU, mIoU, pixelAccuracy } = matrix.scores();
  const expected = [0, 1, 2, 3, 4].map((k) => setIoU(label, prediction, k));
  assert.deepEqual(classIoU, expected);
  assert.deepEqual(expected, [50, 50, 50, null, 0]);
  assert.equal(mIoU, 150 / 4);
  assert.equal(pixelAccuracy, 100 * 5 / 8);
});

Deno.test("counts from the GPU add to those of the host, with labels in rows", () => {
  const matrix = new ConfusionMatrix(2);
  matrix.addPixels([0, 0, 1], [0, 1, 1]);
  matrix.add(Uint32Array.of(0, 3, 0, 4));
  assert.deepEqual([...matrix.counts], [1, 4, 0, 5]);
  assert.deepEqual(matrix.scores().classIoU, [100 * 1 / 5, 100 * 5 / 9]);
  assert.throws(() => matrix.add([1, 2, 3]), /must be 4: found 3/);
});

Deno.test("scores can be listed under the names of their classes", () => {
  assert.deepEqual(byName(["road", "car"], [50, null]), { road: 50, car: null });
});

Deno.test("an empty matrix scores zero and not NaN", () => {
  assert.deepEqual(new ConfusionMatrix(2).scores(), {
    mIoU: 0,
    classIoU: [null, null],
    pixelAccuracy: 0,
  });
});

Deno.test("sizes that differ and predictions that are no class are refused", () => {
  const matrix = new ConfusionMatrix(2);
  assert.throws(() => matrix.addPixels([0, 1], [0]), /label has 2 pixels, prediction has 1/);
  assert.throws(() => matrix.addPixels([0, 1], [0, 2]), /found 2 at pixel 1/);
});

Deno.test("the table has a row for every scored class and a column for every stage", () => {
  const before = { mIoU: 25, classIoU: [50, 0, null], pixelAccuracy: 61.27 };
  const after = { mIoU: 100, classIoU: [100, null, null], pixelAccuracy: 99.96 };
  const table = formatScores(["road", "traffic light", "train"], [
    { title: "source-only", scores: before },
    { title: "denoise", scores: after },
  ]);
  assert.equal(
    table,
    [
      "IoU in %        source-only  denoise",
      "──────────────  ───────────  ───────",
      "road                   50.0    100.0",
      "traffic light           0.0        –",
      "──────────────  ───────────  ───────",
      "mIoU                   25.0    100.0",
      "pixel accuracy         61.3    100.0",
    ].join("\n"),
  );
});
