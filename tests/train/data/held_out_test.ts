// Which images of a source are held out, and that those are none that a run trains on.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { OpenedDataset } from "../../../train/data/dataset.ts";
import { hasLabelledVal, holdOut } from "../../../train/data/held_out.ts";
import { CITYSCAPES, FOLDER, GTA5, type LayoutRecord } from "../../../train/data/layouts.ts";
import { presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import { withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

function datasetOf(count: number): OpenedDataset {
  const items = Array.from({ length: count }, (_, index) => {
    const name = String(index).padStart(5, "0");
    return { name, image: `${name}.png`, label: null };
  });
  return { root: "", layout: GTA5, split: "train", trainIds: null, items };
}

const indices = (dataset: OpenedDataset | null) => dataset?.items.map(({ name }) => Number(name));

Deno.test("a share of 0.05 holds out every twentieth image, whatever the rounding of the product", () => {
  const { trained, heldOut } = holdOut(datasetOf(24_966), 0.05);
  assert.deepEqual(indices(heldOut), Array.from({ length: 1248 }, (_, i) => 20 * i + 19));
  assert.equal(trained.items.length, 24_966 - 1248);
  assert.ok(indices(trained)?.every((index) => index % 20 !== 19));
});

Deno.test("other shares are spread evenly, and too few images stay together", () => {
  assert.deepEqual(indices(holdOut(datasetOf(10), 0.3).heldOut), [3, 6, 9]);
  assert.deepEqual(indices(holdOut(datasetOf(20), 0.05).heldOut), [19]);
  const few = datasetOf(19);
  assert.deepEqual(holdOut(few, 0.05), { trained: few, heldOut: null });
});

/** Writes images of 4×2 pixels, with labels where they are wanted. */
function writeFolder(root: string, split: string, count: number, labelled = true): void {
  const size = { width: 4, height: 2 };
  for (let index = 0; index < count; index++) {
    const name = `${split}${String(index).padStart(2, "0")}.png`;
    write(join(root, "images", split, name), encodeImage({ data: new Uint8Array(24), ...size }));
    if (!labelled) continue;
    write(join(root, "labels", split, name), encodeLabel({ data: new Uint8Array(8), ...size }));
  }
  Deno.writeTextFileSync(
    join(root, "classes.json"),
    JSON.stringify({
      classes: [
        { name: "land", colour: [0, 0, 0], ids: [0] },
        { name: "water", colour: [0, 0, 255], ids: [1] },
      ],
      ignore: { ids: [2] },
    }),
  );
}

async function openedFrom(
  folder: string,
  heldOut: Partial<RunConfig["data"]["heldOut"]> = {},
) {
  const { data } = presetConfig("default");
  return await openRunData({
    ...data,
    sourceDirectory: join(folder, "source"),
    sourceLayout: "folder",
    targetDirectory: join(folder, "target"),
    targetLayout: "folder",
    heldOut: { ...data.heldOut, ...heldOut },
  }, () => {});
}

Deno.test("a run measures a share of its source that it does not train on, or the source's split val", () =>
  withFolder(async (folder) => {
    const names = (dataset: OpenedDataset | null) => dataset?.items.map(({ name }) => name) ?? null;
    const root = join(folder, "source");
    for (const split of ["train", "val"]) writeFolder(join(folder, "target"), split, 2);
    writeFolder(root, "train", 41);

    const shared = await openedFrom(folder);
    assert.deepEqual(names(shared.sourceValidation), ["train19", "train39"]);
    assert.ok(shared.sourceValidation?.items.every(({ label }) => label !== null));
    assert.equal(shared.source.items.length, 39);
    const both = [...names(shared.source) ?? [], ...names(shared.sourceValidation) ?? []];
    assert.equal(new Set(both).size, 41);
    const bounded = await openedFrom(folder, { share: 0.5, images: 4 });
    assert.deepEqual(names(bounded.sourceValidation), ["train01", "train11", "train21", "train31"]);
    assert.equal(bounded.source.items.length, 21, "what is not measured is not trained on either");
    const none = await openedFrom(folder, { share: 0 });
    assert.deepEqual([none.sourceValidation, none.source.items.length], [null, 41]);

    writeFolder(root, "val", 3, false);
    assert.deepEqual(names((await openedFrom(folder)).sourceValidation), ["train19", "train39"]);
    writeFolder(root, "val", 3);
    const given = await openedFrom(folder, { images: 2 });
    assert.deepEqual(names(given.sourceValidation), ["val00", "val01"]);
    assert.equal(given.source.items.length, 41);
    assert.equal((await openedFrom(folder, { share: 0 })).sourceValidation, null);
  }));

Deno.test("a layout without splits has no split val, whatever its folders are called", () =>
  withFolder((folder) => {
    for (const split of ["train", "val"]) writeFolder(folder, split, 1);
    assert.equal(hasLabelledVal({ root: folder, layout: FOLDER }), true);
    const layout: LayoutRecord = { ...FOLDER, splits: "none" };
    assert.equal(hasLabelledVal({ root: folder, layout }), false);
    Deno.removeSync(join(folder, "images", "train"), { recursive: true });
    assert.equal(
      hasLabelledVal({ root: folder, layout: FOLDER }),
      false,
      "val would be all there is",
    );
    for (const top of ["leftImg8bit", "gtFine"]) {
      for (const split of ["train", "val"]) {
        Deno.mkdirSync(join(folder, top, split), { recursive: true });
      }
    }
    assert.equal(hasLabelledVal({ root: folder, layout: CITYSCAPES }), true);
  }));
