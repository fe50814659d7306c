// A layout of a program's own is one record: nothing else has to know of it.

import assert from "node:assert/strict";
import { join } from "node:path";
import { classSet } from "../../../train/data/class_set.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { CLASSES } from "../../../train/data/classes.ts";
import { openDataset } from "../../../train/data/dataset.ts";
import { PLAIN_CODE } from "../../../train/data/label_code.ts";
import type { LayoutRecord } from "../../../train/data/layouts.ts";
import { Loader } from "../../../train/data/loader.ts";
import { classesOf, splitsOf } from "../../../train/data/place.ts";
import { inspectDataset } from "../../../train/inspect/inspect.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, labelPng, write } from "../_png.ts";

const [ROAD, CAR] = [0, 13];

/**
 * Frames of drives by day and by night, image and mask side by side; a mask holds 1 for road, 2 for
 * car.
 */
const DRIVES: LayoutRecord = {
  name: "drives",
  help: "drives/day/DRIVE/NAME.frame.png beside NAME.mask.png, drives/night/… likewise",
  image: { top: "drives", endings: [".frame.png"] },
  label: {
    top: "drives",
    codes: {
      ".mask.png": { ...PLAIN_CODE, ids: [0, CLASSES[ROAD].labelId, CLASSES[CAR].labelId] },
    },
  },
  splits: ["day", "night"],
  depth: [1, 1],
  classes: classSet([ROAD, CAR]),
};

/** Two drives by day, one by night, of a shade and a mask each. */
function writeDrives(root: string): void {
  for (
    const [place, shade, id] of [["day/2", 20, 2], ["day/1", 10, 1], ["night/1", 5, 0]] as const
  ) {
    write(join(root, "drives", place, "a.frame.png"), imagePng(shade));
    write(join(root, "drives", place, "a.mask.png"), labelPng(id));
  }
  write(join(root, "drives", "day", "cover.frame.png"), imagePng(0));
}

Deno.test("a data set in a layout of one's own is opened and loaded", () =>
  withFolder(async (root) => {
    writeDrives(root);
    assert.deepEqual(splitsOf(root, DRIVES), ["day", "night"]);
    const { names, trainIds } = classesOf(root, DRIVES) ?? assert.fail("the record has classes");
    assert.deepEqual(names, ["road", "car"]);
    const dataset = openDataset({ root, layout: DRIVES, split: "day", trainIds });
    assert.deepEqual(
      dataset.items,
      ["1", "2"].map((drive) => ({
        name: `${drive}/a`,
        image: join(root, "drives/day", drive, "a.frame.png"),
        label: join(root, "drives/day", drive, "a.mask.png"),
      })),
    );
    using loader = new Loader({ dataset, order: "sequential" });
    const samples = await loader.next(2);
    assert.deepEqual(samples.map(({ image }) => image.data[0]), [10, 20]);
    assert.deepEqual(samples.map(({ label }) => label?.data[0]), [0, 1]);
    const night = openDataset({ root, layout: DRIVES, split: "night", trainIds });
    using nights = new Loader({ dataset: night, order: "sequential" });
    assert.equal((await nights.next(1))[0].label?.data[0], IGNORE);
  }));

Deno.test("a data set in a layout of one's own is inspected", () =>
  withFolder(async (root) => {
    writeDrives(root);
    const stray = join(root, "drives/night/1/b.mask.png");
    write(stray, labelPng(3));
    write(join(root, "drives/night/2/c.frame.png"), imagePng(7));
    const { splits, problems, notes } = await inspectDataset({ root, layout: DRIVES });
    assert.deepEqual(splits.map(({ split, images }) => [split, images]), [["day", 2], [
      "night",
      2,
    ]]);
    assert.deepEqual(splits[0].classPixels, [8, 8]);
    assert.equal(splits[1].ignoredPixels, 8);
    const [small, ...others] = notes; // images of a few pixels
    assert.match(small, /^split day: The parts of 2 of 2 classes are smaller/);
    assert.deepEqual(others, ["no pixel of split night is road, car"]);
    const missing = join(root, "drives/night/2/c.mask.png");
    assert.equal(problems.length, 2, problems.join("\n"));
    assert.match(problems[0], /c\.frame\.png as it has no label: expected /);
    assert.ok(problems[0].includes(missing), problems[0]);
    assert.ok(problems[1].includes(`${stray} as it has no image`), problems[1]);
  }));

Deno.test("messages call a layout of one's own by its name", () =>
  withFolder((root) => {
    assert.throws(
      () => openDataset({ root, layout: DRIVES, split: "day", trainIds: null }),
      dataError(join(root, "drives"), "give the root of a data set in the drives layout"),
    );
    write(join(root, "RGB", "0.png"), imagePng(1));
    assert.throws(
      () => openDataset({ root, layout: DRIVES, split: "day", trainIds: null }),
      dataError("choose the synthia layout"),
    );
  }));
