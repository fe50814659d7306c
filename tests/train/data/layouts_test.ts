// What label files may hold, layout by layout, and the classes that two data sets agree on.

import assert from "node:assert/strict";
import { join } from "node:path";
import { readClassFile } from "../../../train/data/class_file.ts";
import {
  type ClassSet,
  runClasses,
  selectClasses,
  STREETS_CLASSES,
} from "../../../train/data/class_set.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import {
  CLASSES,
  PUBLISHED_SUBSETS,
  TRAIN_IDS,
  VOID_COLOURS,
} from "../../../train/data/classes.ts";
import { decodeItem, openDataset } from "../../../train/data/dataset.ts";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import {
  CITYSCAPES,
  FOLDER,
  GTA5,
  type LayoutRecord,
  SYNTHIA,
} from "../../../train/data/layouts.ts";
import { classesOf, splitsOf } from "../../../train/data/place.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, labelPng, palettePng, rawPng, write } from "../_png.ts";

/** A row of colours as an RGB PNG. */
function colourPng(colours: readonly (readonly number[])[]): Uint8Array {
  return encodeImage({ data: Uint8Array.from(colours.flat()), width: colours.length, height: 1 });
}

/** The train ids of the only label of a data set. */
function labelsOf(
  root: string,
  layout: LayoutRecord,
  trainIds: readonly number[],
  split = "train",
) {
  const { items, code } = openDataset({ root, layout, split, trainIds });
  return [...decodeItem(items[0], trainIds, code).label?.data ?? []];
}

Deno.test("GTA5 labels may be colours, and a palette that was numbered afresh counts by its colours", () =>
  withFolder((root) => {
    const [road, car] = [CLASSES[0].colour, CLASSES[13].colour];
    const black = [0, 0, 0] as const;
    const path = join(root, "labels", "0.png");
    write(join(root, "images", "0.png"), imagePng(1, 4, 1));
    write(path, colourPng([road, car, black, [20, 20, 20]]));
    const expected = [0, 13, IGNORE, IGNORE];
    assert.deepEqual(labelsOf(root, GTA5, TRAIN_IDS), expected);
    const ids = { data: Uint8Array.of(0, 1, 2, 2), width: 4, height: 1 };
    write(path, palettePng(ids, [road, car, black]));
    assert.deepEqual(labelsOf(root, GTA5, TRAIN_IDS), expected);

    // The palette of the data set itself, in which void ids share colours.
    const palette = Array.from(
      { length: 35 },
      (_, id) =>
        CLASSES.find(({ labelId }) => labelId === id)?.colour ??
          VOID_COLOURS.find(([labelId]) => labelId === id)?.[1] ?? black,
    );
    const official = { data: Uint8Array.of(7, 26, 3, 34), width: 4, height: 1 };
    write(path, palettePng(official, palette));
    assert.deepEqual(labelsOf(root, GTA5, TRAIN_IDS), expected);
    write(path, colourPng([road, car, [1, 2, 3], black]));
    assert.throws(
      () => labelsOf(root, GTA5, TRAIN_IDS),
      dataError(path, "column 2, row 0 has colour (1, 2, 3)", "one of 37 colours such as (128, 64"),
    );
  }));

Deno.test("pictures of streets are read as labels, as are the official colours", () =>
  withFolder((root) => {
    const official = CLASSES.find(({ name }) => name === "bus")?.colour ?? [];
    const shown = STREETS_CLASSES.palette[STREETS_CLASSES.names.indexOf("bus")];
    write(join(root, "images", "0.png"), imagePng(1, 3, 1));
    write(join(root, "labels", "0.png"), colourPng([official, shown, CLASSES[0].colour]));
    assert.deepEqual(labelsOf(root, GTA5, TRAIN_IDS), [15, 15, 0]);
  }));

Deno.test("GTA5 images in a folder val beside the others are a split of their own", () =>
  withFolder((root) => {
    const put = (name: string) => {
      write(join(root, "images", name), imagePng(1, 4, 1));
      write(join(root, "labels", name), labelPng(1, 4, 1));
    };
    const namesOf = (split: string) =>
      openDataset({ root, layout: GTA5, split, trainIds: TRAIN_IDS }).items.map(({ name }) => name);
    put("a.png");
    assert.deepEqual(splitsOf(root, GTA5), [""]);
    assert.deepEqual([namesOf("train"), namesOf("val"), namesOf("")], [["a"], ["a"], ["a"]]);
    put("val/b.png");
    put("other/c.png");
    assert.deepEqual(splitsOf(root, GTA5), ["train", "val"]);
    assert.deepEqual([namesOf("train"), namesOf("val"), namesOf("")], [["a"], ["b"], ["a"]]);
  }));

Deno.test("colours of all 19 classes are told from one another and from void", () => {
  for (const { name, colour } of CLASSES) {
    const same = VOID_COLOURS.filter(([, other]) => String(other) === String(colour));
    assert.ok(same.every(([id]) => id === 18 || id === 34), name);
  }
});

Deno.test("SYNTHIA labels hold the id in the first of three 16-bit channels", () =>
  withFolder((root) => {
    // void, sky, building, road, wall, lane marking, terrain, bicycle
    const ids = [0, 1, 2, 3, 21, 22, 16, 11];
    const rows = [0, ...ids.flatMap((id) => [0, id, 1, 200, 0, 9])];
    const png = { width: 8, height: 1, depth: 16, colourType: 2 };
    write(join(root, "RGB", "0000000.png"), imagePng(1, 8, 1));
    write(join(root, "GT", "LABELS", "0000000.png"), rawPng({ ...png, rows }));
    const set = classesOf(root, SYNTHIA) as ClassSet;
    assert.deepEqual(set.names, PUBLISHED_SUBSETS[16]);
    const named = labelsOf(root, SYNTHIA, set.trainIds).map((id) => set.names[id] ?? null);
    assert.deepEqual(named, [null, "sky", "building", "road", "wall", null, null, "bicycle"]);
    const odd = rows.with(2, 23);
    write(join(root, "GT", "LABELS", "0000000.png"), rawPng({ ...png, rows: odd }));
    assert.throws(
      () => labelsOf(root, SYNTHIA, set.trainIds),
      dataError("column 0, row 0 has id 23: expected 0 to 22"),
    );
  }));

Deno.test("Cityscapes labels may hold train ids, and label ids win where both are there", () =>
  withFolder((root) => {
    const label = (kind: string) => join(root, `gtFine/val/ulm/ulm_1_gtFine_${kind}.png`);
    const file = (ids: number[]) =>
      encodeLabel({ data: Uint8Array.from(ids), width: 3, height: 1 });
    write(join(root, "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png"), imagePng(1, 3, 1));
    write(label("labelTrainIds"), file([0, 18, 255]));
    const thirteen = selectClasses(
      classesOf(root, CITYSCAPES) as ClassSet,
      PUBLISHED_SUBSETS[13],
    );
    assert.deepEqual(labelsOf(root, CITYSCAPES, TRAIN_IDS, "val"), [0, 18, IGNORE]);
    assert.deepEqual(labelsOf(root, CITYSCAPES, thirteen.trainIds, "val"), [0, 12, IGNORE]);
    write(label("labelIds"), file([8, 0, 0]));
    assert.deepEqual(labelsOf(root, CITYSCAPES, TRAIN_IDS, "val"), [1, IGNORE, IGNORE]);
    assert.deepEqual(splitsOf(root, CITYSCAPES), ["val"]);
  }));

/** A class file with two classes. */
const OWN = {
  classes: [
    { name: "crop", colour: [0, 200, 0], ids: [3, 9] },
    { name: "weed", colour: [200, 0, 0], ids: [5] },
  ],
  ignore: { ids: [0], colours: [[0, 0, 0]] },
};

function writeClasses(root: string, value: unknown): void {
  write(join(root, "classes.json"), new TextEncoder().encode(JSON.stringify(value)));
}

Deno.test("a folder of images in any nesting takes ids and colours from its class file", () =>
  withFolder((root) => {
    writeClasses(root, OWN);
    write(join(root, "images", "field 1", "deep", "a.png"), imagePng(1, 4, 1));
    write(
      join(root, "labels", "field 1", "deep", "a.png"),
      encodeLabel({
        data: Uint8Array.of(3, 9, 5, 0),
        width: 4,
        height: 1,
      }),
    );
    const set = classesOf(root, FOLDER) as ClassSet;
    assert.deepEqual(
      [set.names, set.labelIds, set.unlabelled],
      [["crop", "weed"], [3, 5], 0],
    );
    assert.deepEqual(labelsOf(root, FOLDER, set.trainIds), [0, 0, 1, IGNORE]);
    assert.deepEqual(openDataset({ root, layout: FOLDER, split: "val", trainIds: null }).items, [
      { name: "field 1/deep/a", image: join(root, "images/field 1/deep/a.png"), label: null },
    ]);
    const path = join(root, "labels", "field 1", "deep", "a.png");
    write(path, colourPng([[200, 0, 0], [0, 200, 0], [0, 0, 0], [0, 200, 0]]));
    assert.deepEqual(labelsOf(root, FOLDER, set.trainIds), [1, 0, IGNORE, 0]);
    write(path, labelPng(4, 4, 1));
    assert.throws(
      () => labelsOf(root, FOLDER, set.trainIds),
      dataError(path, "has id 4: expected 0, 3, 5, 9"),
    );
  }));

Deno.test("a folder has the splits that images/train and images/val make", () =>
  withFolder((root) => {
    writeClasses(root, OWN);
    for (const split of ["train", "val"]) {
      write(join(root, "images", split, "a.png"), imagePng(1));
      write(join(root, "labels", split, "a.png"), labelPng(5));
    }
    const { trainIds } = classesOf(root, FOLDER) as ClassSet;
    const { items } = openDataset({ root, layout: FOLDER, split: "val", trainIds });
    assert.deepEqual(items, [{
      name: "a",
      image: join(root, "images/val/a.png"),
      label: join(root, "labels/val/a.png"),
    }]);
    assert.deepEqual(splitsOf(root, FOLDER), ["train", "val"]);
    write(join(root, "images", "val", "a.jpg"), imagePng(1));
    assert.throws(
      () => openDataset({ root, layout: FOLDER, split: "val", trainIds: null }),
      dataError("a.jpg and", "a.png have one name"),
    );
  }));

Deno.test("a class file that says too little, too much or two things at once is refused", () =>
  withFolder((root) => {
    const { classes } = OWN;
    const cases: [value: unknown, message: string][] = [
      [{ classes: [classes[0]] }, "classes is [{"],
      [{ classes: [classes[0], { name: "weed", colour: [1, 2] }] }, "classes.1.colour"],
      [{ classes: [classes[0], { ...classes[1], ids: [300] }] }, "classes.1.ids.0 is 300"],
      [{ classes: [classes[0], { ...classes[1], ids: [9] }] }, "id 9 stands for two things"],
      [{ classes: [classes[0], { ...classes[1], name: "crop" }] }, '"crop" stands for two'],
      [{ ...OWN, ignore: { colours: [[0, 200, 0]] } }, "colour [0, 200, 0] stands for two"],
      [{ classes, ignored: {} }, "ignored is"],
      ["crop, weed", "it is "],
    ];
    for (const [value, message] of cases) {
      writeClasses(root, value);
      assert.throws(() => readClassFile(root), dataError(join(root, "classes.json"), message));
    }
    write(join(root, "classes.json"), new TextEncoder().encode("{ classes"));
    assert.throws(
      () => readClassFile(root),
      dataError("it is not JSON", '"colour": [128, 64, 128]'),
    );
    Deno.removeSync(join(root, "classes.json"));
    assert.equal(readClassFile(root), null);
    write(join(root, "images", "a.png"), imagePng(1));
    write(join(root, "labels", "a.png"), labelPng(1));
    assert.throws(
      () => openDataset({ root, layout: FOLDER, split: "train", trainIds: [0] }),
      dataError("classes.json as it does not exist"),
    );
  }));

Deno.test("source and target must have the same classes, but subsets of Cityscapes go together", () =>
  withFolder((root) => {
    writeClasses(root, OWN);
    const own = classesOf(root, FOLDER) as ClassSet;
    const [all, synthia] = [classesOf("", CITYSCAPES), classesOf("", SYNTHIA)] as ClassSet[];
    assert.deepEqual(runClasses(synthia, all, null), PUBLISHED_SUBSETS[16]);
    assert.deepEqual(runClasses(all, synthia, null), PUBLISHED_SUBSETS[16]);
    assert.deepEqual(runClasses(all, all, ["13"]), PUBLISHED_SUBSETS[13]);
    assert.deepEqual(runClasses(all, all, ["car", "road"]), ["car", "road"]);
    const turned = { ...own, names: ["weed", "crop"] };
    assert.deepEqual(runClasses(turned, own, null), ["weed", "crop"]);
    assert.deepEqual(selectClasses(own, ["weed", "crop"]).trainIds[9], 1);
    assert.throws(
      () => runClasses(own, all, null),
      dataError("different classes", "source has crop, weed", "target has road, sidewalk"),
    );
    assert.throws(
      () => runClasses(all, all, ["car", "roads"]),
      dataError('"roads" is not in both data sets', "did you mean road?"),
    );
    assert.throws(() => runClasses(synthia, all, ["19"]), dataError('"terrain" is not in both'));
  }));
