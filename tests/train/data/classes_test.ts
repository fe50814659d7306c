import assert from "node:assert/strict";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { cityscapesClasses, classSet, STREETS_CLASSES } from "../../../train/data/class_set.ts";
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

Deno.test("the classes of streets have colours that are told apart, other sets the official ones", () => {
  const { names, palette } = STREETS_CLASSES;
  // Lightness and two opponent colours, roughly as eyes see them (OKLab, Ottosson, 2020).
  const seen = palette.map((colour) => {
    const [r, g, b] = colour.map((value) => (value / 255) ** 2.2);
    const [l, m, s] = [
      Math.cbrt(0.4122 * r + 0.5363 * g + 0.0514 * b),
      Math.cbrt(0.2119 * r + 0.6807 * g + 0.1074 * b),
      Math.cbrt(0.0883 * r + 0.2817 * g + 0.63 * b),
    ];
    return [
      0.2105 * l + 0.7936 * m - 0.0041 * s,
      1.978 * l - 2.4286 * m + 0.4506 * s,
      0.0259 * l + 0.7828 * m - 0.8087 * s,
    ];
  });
  const black = [0, 0, 0]; // what is ignored
  const all = [...seen, black];
  all.forEach((one, i) =>
    all.slice(0, i).forEach((other, j) => {
      const distance = Math.hypot(...one.map((value, c) => value - other[c]));
      assert.ok(distance > 0.13, `${names[i]} and ${names[j]}: ${distance.toFixed(3)}`);
    })
  );
  assert.deepEqual(classSet(STREETS_TRAIN_IDS).palette, palette);
  assert.deepEqual(cityscapesClasses(names).palette, palette, "of a network of streets");
  assert.deepEqual(classSet().palette, CLASSES.map(({ colour }) => colour));
  assert.deepEqual(cityscapesClasses(["bus"]).palette, [[0, 60, 100]]);
});
