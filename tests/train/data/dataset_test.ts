import assert from "node:assert/strict";
import { join } from "node:path";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { TRAIN_IDS } from "../../../train/data/classes.ts";
import { type DatasetOptions, decodeItem, openDataset } from "../../../train/data/dataset.ts";
import { CITYSCAPES, GTA5 } from "../../../train/data/layouts.ts";
import { encodeLabel } from "../../../train/images/image.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, labelPng, palettePng, rawPng, write } from "../_png.ts";

const gta5 = (root: string): DatasetOptions => ({
  root,
  layout: GTA5,
  split: "train",
  trainIds: TRAIN_IDS,
});
const cityscapes = (root: string, split = "val"): DatasetOptions => ({
  root,
  layout: CITYSCAPES,
  split,
  trainIds: TRAIN_IDS,
});

Deno.test("the GTA5 layout gives pairs in the order of their names, whatever the case of .PNG", () =>
  withFolder((root) => {
    for (const name of ["00010", "00002", "straße 1"]) {
      write(join(root, "images", `${name}.png`), imagePng(1));
      write(join(root, "labels", `${name}.PNG`), labelPng(7));
    }
    write(join(root, "images", "._00002.png"), Uint8Array.of(0, 5));
    write(join(root, "images", "readme.txt"), Uint8Array.of(65));
    const { items } = openDataset(gta5(root));
    assert.deepEqual(items.map(({ name }) => name), ["00002", "00010", "straße 1"]);
    assert.deepEqual(items[2], {
      name: "straße 1",
      image: join(root, "images", "straße 1.png"),
      label: join(root, "labels", "straße 1.PNG"),
    });
  }));

Deno.test("the Cityscapes layout gives the pairs of one split over its cities", () =>
  withFolder((root) => {
    for (
      const [split, city, frame] of [["val", "ulm", "1"], ["val", "bonn", "2"], ["train", "x", "3"]]
    ) {
      const name = `${city}_${frame}`;
      write(join(root, "leftImg8bit", split, city, `${name}_leftImg8bit.png`), imagePng(1));
      write(join(root, "gtFine", split, city, `${name}_gtFine_labelIds.png`), labelPng(8));
      write(join(root, "gtFine", split, city, `${name}_gtFine_color.png`), imagePng(8));
    }
    write(join(root, "leftImg8bit", "val", "licence.txt"), Uint8Array.of(65));
    const { items } = openDataset(cityscapes(root));
    assert.deepEqual(items, [
      {
        name: "bonn/bonn_2",
        image: join(root, "leftImg8bit/val/bonn/bonn_2_leftImg8bit.png"),
        label: join(root, "gtFine/val/bonn/bonn_2_gtFine_labelIds.png"),
      },
      {
        name: "ulm/ulm_1",
        image: join(root, "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png"),
        label: join(root, "gtFine/val/ulm/ulm_1_gtFine_labelIds.png"),
      },
    ]);
  }));

Deno.test("linked folders and files are followed", () =>
  withFolder((root) => {
    write(join(root, "store", "a.png"), imagePng(9));
    write(join(root, "store", "b.png"), labelPng(7));
    write(join(root, "disk", "x", "x_0_leftImg8bit.png"), imagePng(9));
    Deno.mkdirSync(join(root, "images"));
    Deno.mkdirSync(join(root, "labels"));
    Deno.symlinkSync(join(root, "store", "a.png"), join(root, "images", "0.png"));
    Deno.symlinkSync(join(root, "store", "b.png"), join(root, "labels", "0.png"));
    assert.equal(decodeItem(openDataset(gta5(root)).items[0], TRAIN_IDS).image.data[0], 9);
    Deno.mkdirSync(join(root, "leftImg8bit", "val"), { recursive: true });
    Deno.symlinkSync(join(root, "disk", "x"), join(root, "leftImg8bit", "val", "x"));
    const items = openDataset({ ...cityscapes(root), trainIds: null }).items;
    assert.deepEqual(items.map(({ name }) => name), ["x/x_0"]);
  }));

Deno.test("without train ids labels are neither looked for nor read", () =>
  withFolder((root) => {
    write(join(root, "images", "0.png"), imagePng(3));
    const { items } = openDataset({ ...gta5(root), trainIds: null });
    assert.equal(items[0].label, null);
    assert.equal(decodeItem(items[0], null).label, null);
  }));

Deno.test("label ids become train ids, from grey and palette labels alike", () =>
  withFolder((root) => {
    const ids = { data: Uint8Array.of(7, 26, 0, 33), width: 4, height: 1 };
    const palette = Array.from({ length: 35 }, (_, k) => [k, 0, 255 - k] as const);
    write(join(root, "images", "grey.png"), imagePng(3, 4, 1));
    write(join(root, "labels", "grey.png"), encodeLabel(ids));
    write(join(root, "images", "palette.png"), imagePng(3, 4, 1));
    write(join(root, "labels", "palette.png"), palettePng(ids, palette));
    for (const item of openDataset(gta5(root)).items) {
      const { label } = decodeItem(item, TRAIN_IDS);
      assert.deepEqual({ ...label }, {
        data: Uint8Array.of(0, 13, IGNORE, 18),
        width: 4,
        height: 1,
      });
    }
  }));

Deno.test("an id outside the map is refused with file, place and id", () =>
  withFolder((root) => {
    const data = new Uint8Array(8).fill(7);
    data[6] = 35;
    write(join(root, "images", "0.png"), imagePng(3));
    write(join(root, "labels", "0.png"), encodeLabel({ data, width: 4, height: 2 }));
    const item = openDataset(gta5(root)).items[0];
    assert.throws(
      () => decodeItem(item, TRAIN_IDS),
      dataError(join(root, "labels", "0.png"), "column 2, row 1 has id 35", "0 to 34"),
    );
  }));

Deno.test("a missing root, folder or split is named, with what is there instead", () =>
  withFolder((root) => {
    assert.throws(
      () => openDataset(gta5(join(root, "no"))),
      dataError(join(root, "no"), "not exist"),
    );
    assert.throws(() => openDataset(gta5(root)), dataError(join(root, "images"), "found nothing"));
    write(join(root, "leftImg8bit", "train", "x", "x_1_leftImg8bit.png"), imagePng(1));
    assert.throws(() => openDataset(gta5(root)), dataError("choose the cityscapes layout"));
    assert.throws(
      () => openDataset(cityscapes(root, "val")),
      dataError(join(root, "leftImg8bit", "val"), "found train beside it", "another split"),
    );
  }));

Deno.test("an empty split is refused with what it holds", () =>
  withFolder((root) => {
    Deno.mkdirSync(join(root, "leftImg8bit", "val", "ulm"), { recursive: true });
    assert.throws(
      () => openDataset(cityscapes(root)),
      dataError(join("leftImg8bit", "val") + " has no *_leftImg8bit.png: found ulm"),
    );
    write(join(root, "images", "0.jpg"), Uint8Array.of(0xff, 0xd8));
    Deno.mkdirSync(join(root, "labels"));
    assert.throws(() => openDataset(gta5(root)), dataError("images has no *.png: found 0.jpg"));
  }));

Deno.test("images without a label are counted and the first is named", () =>
  withFolder((root) => {
    for (const name of ["0", "1", "2"]) write(join(root, "images", `${name}.png`), imagePng(1));
    write(join(root, "labels", "1.png"), labelPng(7));
    assert.throws(
      () => openDataset(gta5(root)),
      dataError(
        "2 images have no label",
        `${join(root, "images", "0.png")} expects ${join(root, "labels", "0.png")}`,
      ),
    );
  }));

Deno.test("labels of another size are found when the data set is opened", () =>
  withFolder((root) => {
    for (const name of ["0", "1"]) {
      write(join(root, "images", `${name}.png`), imagePng(1, 4, 2));
      write(join(root, "labels", `${name}.png`), labelPng(7, 4, name === "1" ? 3 : 2));
    }
    assert.throws(
      () => openDataset(gta5(root)),
      dataError("1 label has not the size", join(root, "labels", "1.png") + " is 4×3", "is 4×2"),
    );
  }));

Deno.test("a pair whose sizes come to differ after opening is refused when it is decoded", () =>
  withFolder((root) => {
    write(join(root, "images", "0.png"), imagePng(1));
    write(join(root, "labels", "0.png"), labelPng(7));
    const item = openDataset(gta5(root)).items[0];
    write(join(root, "labels", "0.png"), labelPng(7, 5, 2));
    assert.throws(() => decodeItem(item, TRAIN_IDS), dataError("size is 5×2", "4×2"));
  }));

Deno.test("a file that is no PNG, or declares a gigapixel, is found when the data set is opened", () =>
  withFolder((root) => {
    const path = join(root, "images", "0.png");
    const options = { ...gta5(root), trainIds: null };
    write(path, Uint8Array.of(0xff, 0xd8, 0xff, 0xe0));
    assert.throws(() => openDataset(options), dataError(path, "convert it to PNG"));
    write(path, rawPng({ width: 50000, height: 50000, depth: 8, colourType: 2, rows: [0] }));
    assert.throws(() => openDataset(options), dataError(path, "50000×50000"));
    Deno.removeSync(path);
    Deno.symlinkSync(join(root, "gone.png"), path);
    assert.throws(() => openDataset(options), dataError(path, "does not exist"));
  }));
