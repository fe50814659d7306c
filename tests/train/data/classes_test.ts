import assert from "node:assert/strict";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { CLASSES, STREETS_TRAIN_IDS, TRAIN_IDS } from "../../../train/data/classes.ts";

Deno.test("label ids map to the train ids of the published GTA5 and Cityscapes tables", () => {
  // The table as the data sets' own tools print it, written out once more on purpose.
  const published = new Map([
    [7, 0],
    [8, 1],
    [11, 2],
    [12, 3],
    [13, 4],
    [17, 5],
    [19, 6],
    [20, 7],
    [21, 8],
    [22, 9],
    [23, 10],
    [24, 11],
    [25, 12],
    [26, 13],
    [27, 14],
    [28, 15],
    [31, 16],
    [32, 17],
    [33, 18],
  ]);
  assert.equal(TRAIN_IDS.length, 35);
  TRAIN_IDS.forEach((trainId, labelId) => {
    assert.equal(trainId, published.get(labelId) ?? IGNORE, `label id ${labelId}`);
  });
});

Deno.test("every class has its own name, colour and label id, and none is the ignore label", () => {
  assert.equal(CLASSES.length, 19);
  for (const key of ["name", "colour", "labelId"] as const) {
    assert.equal(new Set(CLASSES.map((entry) => String(entry[key]))).size, 19, key);
  }
  assert.ok(CLASSES.length <= IGNORE);
});

Deno.test("streets uses eight of the nineteen classes", () => {
  assert.deepEqual(STREETS_TRAIN_IDS, [0, 1, 2, 8, 10, 11, 13, 15]);
});
