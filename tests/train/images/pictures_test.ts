import assert from "node:assert/strict";
import { join } from "node:path";
import { CLASSES } from "../../../train/data/classes.ts";
import { readImage } from "../../../train/images/image.ts";
import { colourStatistics, meanOf, type RgbImage } from "../../../train/images/rgb.ts";
import {
  colourLabel,
  contactSheet,
  overlay,
  writeSamples,
} from "../../../train/images/pictures.ts";
import { namesIn, withFolder } from "../_folder.ts";

const PALETTE = CLASSES.map(({ colour }) => colour);
const ROAD = [128, 64, 128];
const CAR = [0, 0, 142];
const BLACK = [0, 0, 0];
const WHITE = [255, 255, 255];

function shade(value: number, width: number, height: number): RgbImage {
  return { data: new Uint8Array(width * height * 3).fill(value), width, height };
}

function pixel({ data, width }: RgbImage, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

Deno.test("the mean of an image is that of its pixels, nearly so of many", () => {
  const image = (width: number, height: number) => {
    const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => i % 3 + 2 * (i % width));
    return { data, width, height };
  };
  const exact = ({ data }: { data: Uint8Array }) =>
    data.reduce((sum, value) => sum + value, 0) / data.length / 255;
  const [small, large] = [image(50, 40), image(100, 200)];
  assert.ok(Math.abs(meanOf(small) - exact(small)) < 1e-12);
  assert.ok(Math.abs(meanOf(large) - exact(large)) < 0.01);
});

Deno.test("statistics of colours are the mean and the deviation of each channel", () => {
  const data = Uint8Array.of(0, 10, 200, 0, 30, 100, 0, 10, 200, 0, 30, 100);
  const { mean, deviation } = colourStatistics({ data, width: 2, height: 2 });
  assert.deepEqual(mean, [0, 20 / 255, 150 / 255]);
  assert.deepEqual(deviation, [0, 10 / 255, 50 / 255]);
});

Deno.test("labels are painted in the Cityscapes colours, the ignore label in black", () => {
  const image = colourLabel({ data: Uint32Array.of(0, 13, 255), width: 3, height: 1 }, PALETTE);
  assert.deepEqual([...image.data], [...ROAD, ...CAR, ...BLACK]);
});

Deno.test("an overlay blends colours and shows the image where there is no class", () => {
  const label = { data: Uint8Array.of(0, 255), width: 2, height: 1 };
  const image = overlay(shade(100, 2, 1), label, 0.25, PALETTE);
  assert.deepEqual([...image.data], [107, 91, 107, 100, 100, 100]);
  assert.throws(() => overlay(shade(0, 1, 1), label, 0.5, PALETTE), /label is 2×1, image is 1×1/);
});

Deno.test("a contact sheet keeps every picture in its place, two white pixels apart", () => {
  const sheet = contactSheet([[shade(1, 3, 2), shade(2, 3, 2)], [shade(3, 3, 2), shade(4, 3, 2)]]);
  assert.deepEqual([sheet.width, sheet.height], [8, 6]);
  const shades = Array.from(
    { length: 6 },
    (_, y) => Array.from({ length: 8 }, (_, x) => pixel(sheet, x, y)[0]),
  );
  const [top, gap, bottom] = [
    [1, 1, 1, 255, 255, 2, 2, 2],
    Array(8).fill(255),
    [3, 3, 3, 255, 255, 4, 4, 4],
  ];
  assert.deepEqual(shades, [top, top, gap, gap, bottom, bottom]);
  assert.throws(() => contactSheet([]), /without pictures/);
  assert.throws(() => contactSheet([[shade(1, 3, 2)], []]), /row 1 has 0, the first 1/);
  assert.throws(() => contactSheet([[shade(1, 3, 2), shade(1, 2, 2)]]), /found 2×2 beside 3×2/);
});

Deno.test("samples show the image, then its maps, small ones enlarged by whole pixels", () =>
  withFolder((folder) => {
    const path = join(folder, "0.png");
    const label = { data: [0, 0, 13, 13, 0, 0, 13, 13], width: 4, height: 2 };
    const denoised = { data: Uint32Array.of(255, 0), width: 2, height: 1 };
    writeSamples(path, [{ image: shade(9, 4, 2), maps: [label, denoised] }], PALETTE);
    assert.deepEqual(namesIn(folder), ["0.png"]);
    const sheet = readImage(path);
    assert.deepEqual([sheet.width, sheet.height], [16, 2]);
    for (let y = 0; y < 2; y++) {
      const row = Array.from({ length: 16 }, (_, x) => pixel(sheet, x, y));
      const photo = [9, 9, 9];
      assert.deepEqual(row, [
        ...[photo, photo, photo, photo, WHITE, WHITE],
        ...[ROAD, ROAD, CAR, CAR, WHITE, WHITE],
        ...[BLACK, BLACK, ROAD, ROAD],
      ]);
    }
  }));

Deno.test("samples of images of several sizes take that of the first, and large ones shrink", () =>
  withFolder((folder) => {
    const path = join(folder, "0.png");
    const label = { data: [0], width: 1, height: 1 };
    const rows = [shade(9, 4, 2), shade(8, 7, 7)].map((image) => ({ image, maps: [label] }));
    writeSamples(path, rows, PALETTE);
    const sheet = readImage(path);
    assert.deepEqual([sheet.width, sheet.height], [10, 6]);
    assert.deepEqual(pixel(sheet, 3, 5), [8, 8, 8]);
    writeSamples(path, [{ image: shade(9, 1281, 5), maps: [] }], PALETTE);
    const small = readImage(path);
    assert.deepEqual([small.width, small.height], [427, 2]);
    assert.throws(() => writeSamples(path, [], PALETTE), /without a row/);
  }));
