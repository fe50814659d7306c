// Pictures that are cut out of the sheets of a run.

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  cityscapesClasses,
  type ClassSet,
  STREETS_CLASSES,
} from "../../../train/data/class_set.ts";
import { CLASSES } from "../../../train/data/classes.ts";
import { writeSamples } from "../../../train/images/pictures.ts";
import type { Colour, RgbImage } from "../../../train/images/rgb.ts";
import {
  labelsByStep,
  madeLabels,
  readSheet,
  sampleRows,
} from "../../../train/report/contact_sheets.ts";
import { withFolder } from "../_folder.ts";

const [WIDTH, HEIGHT] = [12, 6];

function image(shade: number): RgbImage {
  return { data: new Uint8Array(WIDTH * HEIGHT * 3).fill(shade), width: WIDTH, height: HEIGHT };
}

function map(id: number) {
  return { data: new Uint8Array(WIDTH * HEIGHT).fill(id), width: WIDTH, height: HEIGHT };
}

/** The colour of a picture that has only one. */
function colourOf({ data, width, height }: RgbImage): number[] {
  const [r, g, b] = data;
  assert.deepEqual([width, height], [WIDTH, HEIGHT]);
  for (let at = 0; at < data.length; at += 3) {
    assert.deepEqual([...data.subarray(at, at + 3)], [r, g, b]);
  }
  return [r, g, b];
}

const OFFICIAL: readonly Colour[] = STREETS_CLASSES.names.map((name) =>
  CLASSES.find((candidate) => candidate.name === name)?.colour ?? [0, 0, 0]
);

Deno.test("a sheet is cut into the pictures that were put on it, white ones too", () =>
  withFolder((folder) => {
    const path = join(folder, "sheet.png");
    for (const columns of [2, 3, 4]) {
      const rows = [40, 255, 120, 7].map((shade) => ({
        image: image(shade),
        maps: Array.from({ length: columns - 1 }, (_, k) => map(k)),
      }));
      writeSamples(path, rows, OFFICIAL);
      const cut = readSheet(path);
      assert.deepEqual(cut.map((row) => row.map(colourOf)), [
        ...[40, 255, 120, 7].map((shade) => [
          [shade, shade, shade],
          ...OFFICIAL.slice(0, columns - 1).map((colour) => [...colour]),
        ]),
      ]);
    }
    writeSamples(path, [{ image: image(9), maps: [map(1), map(2)] }], OFFICIAL);
    assert.deepEqual(readSheet(path).map((row) => row.length), [3]);
  }));

Deno.test("labels of a sheet that is older than the colours of streets are shown in these", () =>
  withFolder((folder) => {
    const bus = STREETS_CLASSES.names.indexOf("bus");
    const car = STREETS_CLASSES.names.indexOf("car");
    const rows = [{ image: image(50), maps: [map(car), map(car), map(bus)] }];
    writeSamples(join(folder, "samples", "stage1.png"), rows, OFFICIAL);
    writeSamples(
      join(folder, "samples", "warmup.png"),
      [{ image: image(5), maps: [map(1)] }],
      OFFICIAL,
    );
    const own = STREETS_CLASSES.palette[bus];
    assert.notDeepEqual(own, OFFICIAL[bus]);
    const madeBy = (stage: string, classes: ClassSet, isLabelled = true) =>
      madeLabels(folder, stage, classes, isLabelled).map(colourOf);
    assert.deepEqual(madeBy("stage1", STREETS_CLASSES), [[...own]]);
    const others = cityscapesClasses(["road", "bus"]);
    assert.deepEqual(madeBy("stage1", others), [[...OFFICIAL[bus]]]);
    const strange = { ...STREETS_CLASSES, isCityscapes: false };
    assert.deepEqual(madeBy("stage1", strange), [[...OFFICIAL[bus]]]);
    assert.deepEqual(madeBy("warmup", STREETS_CLASSES), [], "it makes none");
    assert.deepEqual(madeBy("source", STREETS_CLASSES), [], "there is no sheet");
    const unlabelled = [{ image: image(5), maps: [map(0), map(1)] }];
    writeSamples(join(folder, "samples", "stage2.png"), unlabelled, OFFICIAL);
    assert.deepEqual(madeBy("stage2", STREETS_CLASSES, false), [[...OFFICIAL[1]]]);
    assert.deepEqual(madeBy("stage2", STREETS_CLASSES), []);
  }));

Deno.test("of many steps six are shown, the first and the last among them", () =>
  withFolder((folder) => {
    for (let step = 0; step < 20; step++) {
      const name = `step_${String(10 * step).padStart(5, "0")}.png`;
      const rows = [{ image: image(50), maps: [map(0), map(1), map(2)] }];
      writeSamples(join(folder, "samples", "stage1", name), rows, OFFICIAL);
    }
    const [{ panels }] = labelsByStep(folder, "stage1", STREETS_CLASSES);
    assert.deepEqual(panels.map(({ name }) => name), [
      "image",
      "label",
      ...[0, 40, 80, 110, 150, 190].map((step) => `step ${step}`),
    ]);
    assert.deepEqual(labelsByStep(folder, "stage2", STREETS_CLASSES), []);
  }));

Deno.test("without its networks a run's samples are those that it has drawn, labels before predictions", () =>
  withFolder((folder) => {
    const put = (stage: string, maps: number[]) =>
      writeSamples(
        join(folder, "samples", `${stage}.png`),
        [{ image: image(50), maps: maps.map(map) }],
        OFFICIAL,
      );
    const rows = () =>
      sampleRows(folder, ["source", "stage1"], STREETS_CLASSES).map(({ panels }) =>
        panels.map((
          { name, image },
        ) => [name, OFFICIAL.findIndex((c) => `${c}` === `${colourOf(image)}`)])
      );
    assert.deepEqual(rows(), []);
    put("source", [0, 1]);
    put("stage1", [0, 2, 3]);
    assert.deepEqual(rows(), [[
      ["image", -1],
      ["label", 0],
      ["source", 1],
      ["labels of stage1", 3],
      ["stage1", 2],
    ]]);
    put("source", [1]);
    put("stage1", [2, 3]);
    assert.deepEqual(rows(), [[
      ["image", -1],
      ["source", 1],
      ["labels of stage1", 3],
      ["stage1", 2],
    ]]);
  }));
