// Inspection of data sets: all problems at once, counts, and the contact sheet.

import assert from "node:assert/strict";
import { join } from "node:path";
import { formatInspection } from "../../../cli/inspect.ts";
import { describeKnown, PLAIN_CODE } from "../../../train/data/label_code.ts";
import { CITYSCAPES, FOLDER, GTA5 } from "../../../train/data/layouts.ts";
import { drawText, LETTER_HEIGHT } from "../../../train/inspect/bitmap_font.ts";
import { decodeImage, encodeLabel } from "../../../train/images/image.ts";
import { spread } from "../../../train/base/spread.ts";
import { inspectDataset } from "../../../train/inspect/inspect.ts";
import { inspectionSheet } from "../../../train/inspect/inspect_sheet.ts";
import { withFolder } from "../_folder.ts";
import { imagePng, labelPng, write } from "../_png.ts";

Deno.test("a sound data set has counts of images, sizes and classes, and no problem", () =>
  withFolder(async (root) => {
    for (const name of ["a", "b", "c"]) {
      const [width, height] = name === "c" ? [3, 5] : [4, 2];
      write(join(root, "images", `${name}.png`), imagePng(9, width, height));
      write(join(root, "labels", `${name}.png`), labelPng(name === "a" ? 7 : 26, width, height));
    }
    const label = { data: Uint8Array.of(7, 7, 0, 26, 26, 26, 26, 0), width: 4, height: 2 };
    write(join(root, "labels", "a.png"), encodeLabel(label));
    for (const workers of [1, 3]) {
      const report = await inspectDataset({ root, layout: GTA5, workers });
      assert.deepEqual(report.problems, []);
      const [split] = report.splits;
      assert.deepEqual([split.images, split.labelled], [3, 3]);
      assert.deepEqual(split.sizes, { "4×2": 2, "3×5": 1 });
      assert.deepEqual([split.classPixels[0], split.classPixels[13]], [2, 4 + 8 + 15]);
      assert.deepEqual([split.classLabels[0], split.classLabels[13]], [1, 3]);
      assert.equal(split.ignoredPixels, 2);
      assert.match(report.notes.at(-1) ?? "", /^no pixel of the data set is sidewalk, building, /);
      const text = formatInspection(report);
      assert.match(text, /^3 images, all with labels\nsizes: 2 of 4×2, 1 of 3×5\n/);
      const rows = text.split("\n").filter((line) => line.includes(" %"));
      const first = rows.map((row) => row.split(" ")[0]);
      assert.deepEqual(first, ["road", "car", "ignored"], "a row for what there is");
      // Half of a row and a half of four pixels, and two whole labels.
      assert.match(text, /^car +87\.10 % +3 +\d px$/m);
      assert.equal(split.longSide, 4);
      assert.deepEqual(split.partSizes[2], null);
      const [road, car] = [split.partSizes[0] ?? 0, split.partSizes[13] ?? 0];
      assert.ok(
        Math.abs(road - Math.SQRT2 / 4) < 0.01,
        `a part of road is ${road} of the long side`,
      );
      assert.ok(
        Math.abs(car - Math.sqrt(8) / 4) < 0.01,
        `a part of car is ${car} of the long side`,
      );
      const small = /data set: The parts of 2 of 19 classes .* of road measures 1, expected 16 or/;
      assert.match(report.notes.join("\n"), small);
      assert.match(text, /No problem was found$/);
    }
    const few = await inspectDataset({ root, layout: GTA5, limit: 2 });
    assert.deepEqual(few.splits[0].items.map(({ name }) => name), ["a", "b"]);
    assert.match(formatInspection(few), /^3 images of 4×2, all with labels, 2 of them opened\n/);
  }));

Deno.test("classes that splits lack are named once, and those of no split apart", () =>
  withFolder(async (root) => {
    const ids = { train: [7, 7, 23, 26], val: [7, 7, 26, 26], test: [7, 23, 23, 23] };
    for (const [split, [a, b, c, d]] of Object.entries(ids)) {
      const label = { data: Uint8Array.of(a, b, c, d), width: 2, height: 2 };
      write(join(root, `leftImg8bit/${split}/ulm/x_leftImg8bit.png`), imagePng(9, 2, 2));
      const path = join(root, `gtFine/${split}/ulm/x_gtFine_labelIds.png`);
      write(path, encodeLabel(label));
    }
    const { notes } = await inspectDataset({ root, layout: CITYSCAPES });
    const absent = notes.filter((note) => note.startsWith("no pixel"));
    assert.equal(absent.length, 3, notes.join("\n"));
    assert.match(absent[0], /^no pixel of any split is sidewalk, building, .* bicycle$/);
    assert.doesNotMatch(absent[0], /road|sky|car/);
    assert.deepEqual(absent.slice(1).sort(), [
      "no pixel of split test is car",
      "no pixel of split val is sky",
    ]);
  }));

Deno.test("ids that are known are listed, runs of three or more by their ends", () => {
  const trainIds: number[] = [];
  for (const id of [0, 1, 4, 7, 8, 9]) trainIds[id] = 0;
  assert.equal(describeKnown("id", PLAIN_CODE, trainIds), "0, 1, 4, 7 to 9");
});

Deno.test("where a class file is missing it is to be written", () =>
  withFolder(async (root) => {
    write(join(root, "images", "a.png"), imagePng(9));
    write(join(root, "labels", "a.png"), labelPng(7));
    const { problems } = await inspectDataset({ root, layout: FOLDER });
    assert.match(problems.join(), /classes\.json as it does not exist: [^;]*; write it$/);
  }));

Deno.test("of a folder that is not there nothing is said but that", () =>
  withFolder(async (root) => {
    const { notes, problems } = await inspectDataset({ root: join(root, "none"), layout: GTA5 });
    assert.deepEqual([notes, problems.length], [[], 1]);
  }));

Deno.test("every problem of a data set is listed at once, in the order of its files", () =>
  withFolder(async (root) => {
    const image = (name: string) => join(root, "leftImg8bit/val/ulm", `${name}_leftImg8bit.png`);
    const label = (name: string) => join(root, "gtFine/val/ulm", `${name}_gtFine_labelIds.png`);
    for (const name of ["cut", "odd", "size", "text", "bare", "fine"]) {
      write(image(name), imagePng(3));
      write(label(name), labelPng(7));
    }
    write(label("stray"), labelPng(7));
    Deno.removeSync(label("bare"));
    write(image("cut"), imagePng(3).subarray(0, 60));
    write(label("odd"), labelPng(35));
    write(label("size"), labelPng(36, 5, 2));
    write(label("text"), new TextEncoder().encode("no picture"));
    write(join(root, "leftImg8bit/train/ulm/x_leftImg8bit.png"), imagePng(3));
    Deno.mkdirSync(join(root, "leftImg8bit/test"));
    const report = await inspectDataset({ root, layout: CITYSCAPES, workers: 2 });
    const expected = [
      "leftImg8bit/test has no *_leftImg8bit.png: found nothing",
      `${image("bare")} as it has no label: expected ${label("bare")}`,
      `${label("stray")} as it has no image`,
      `${image("cut")} as it is truncated`,
      `${label("size")} as its size is 5×2: expected the image's 4×2`,
      `${label("text")} as it does not start with the PNG signature`,
      `${label("odd")} as 8 pixels have id 35: expected 0 to 34`,
      `${label("size")} as 10 pixels have id 36`,
    ];
    assert.equal(report.problems.length, expected.length, report.problems.join("\n"));
    expected.forEach((part, at) =>
      assert.ok(report.problems[at].includes(part), `${report.problems[at]}\nlacks ${part}`)
    );
    assert.ok(
      report.problems.every((problem) => /^Cannot .*; /.test(problem)),
      "each has a way out",
    );
    assert.match(report.notes.join("\n"), /split train has no labels/);
    assert.match(formatInspection(report), /^8 problems were found:\n- Cannot/m);
    const val = await inspectDataset({ root, layout: CITYSCAPES, split: "train" });
    assert.deepEqual(val.problems, []);
  }));

Deno.test("the contact sheet shows images under their labels and the classes' colours", () =>
  withFolder(async (root) => {
    const classes = [{ name: "left", colour: [200, 0, 0] }, { name: "right", colour: [0, 0, 200] }];
    write(join(root, "classes.json"), new TextEncoder().encode(JSON.stringify({ classes })));
    write(join(root, "images", "a.png"), imagePng(100, 40, 20));
    const data = Uint8Array.from({ length: 800 }, (_, i) => i % 40 < 20 ? 0 : 1);
    write(join(root, "labels", "a.png"), encodeLabel({ data, width: 40, height: 20 }));
    write(join(root, "images", "b.png"), new TextEncoder().encode("no picture"));
    write(join(root, "labels", "b.png"), labelPng(0));
    const report = await inspectDataset({ root, layout: FOLDER });
    assert.equal(report.problems.length, 1);
    const bytes = await inspectionSheet(report) ?? assert.fail("there is an image to show");
    const sheet = decodeImage(bytes, "sheet");
    const at = (
      x: number,
      y: number,
    ) => [...sheet.data.subarray((y * sheet.width + x) * 3, (y * sheet.width + x) * 3 + 3)];
    assert.deepEqual(at(10, 10), [200, 0, 0], "the swatch of the first class");
    const top = sheet.height - 100;
    assert.deepEqual(at(50, top), [155, 45, 45], "100 under 55 % of 200, 0, 0");
    assert.deepEqual(at(350, top), [45, 45, 155]);
    Deno.removeSync(join(root, "images", "a.png"));
    assert.equal(await inspectionSheet(await inspectDataset({ root, layout: FOLDER })), null);
  }));

Deno.test("a sample is spread over the whole", () => {
  assert.deepEqual(spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 3), [0, 3, 6]);
  assert.deepEqual(spread([0, 1], 5), [0, 1]);
});

Deno.test("letters are drawn in their boxes, unknown ones as a box", () => {
  const rows = (text: string) => {
    const lines = Array.from({ length: LETTER_HEIGHT }, () => Array(text.length * 6).fill("."));
    drawText(text, (x, y) => lines[y][x] = "#");
    return lines.map((line) => line.join(""));
  };
  assert.deepEqual(rows("h!"), [
    "#...#.#####.",
    "#...#.#...#.",
    "#...#.#...#.",
    "#####.#...#.",
    "#...#.#...#.",
    "#...#.#...#.",
    "#...#.#####.",
  ]);
});
