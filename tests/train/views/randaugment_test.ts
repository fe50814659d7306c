// The strong view of RandAugment: what is drawn, and that image and maps are moved alike.

import assert from "node:assert/strict";
import type { Gpu } from "../../../kernels/runtime/mod.ts";
import {
  packImages,
  warpImages,
  warpLabelMaps,
  warpMaps,
  warpMask,
} from "../../../kernels/warp.ts";
import { Random } from "../../../nn/random.ts";
import type { RgbImage } from "../../../train/images/rgb.ts";
import { changeColours, type PixelOperation } from "../../../train/views/pixel_operations.ts";
import {
  type Move,
  operationsOf,
  RANDAUGMENT_POOL,
  RandAugmentView,
  randAugmentView,
} from "../../../train/views/randaugment.ts";
import { renderView } from "../../../train/views/render_view.ts";
import { drawTargetViews, renderTargetViews } from "../../../train/views/target_views.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { assertSame } from "../../_same.ts";

const SIZE = { width: 60, height: 48 };
/** Side of the blocks of one label and one colour; 20 of them. */
const BLOCK = 12;
const LABELS = 20;
const CUTOUT = { left: 21, top: 5, width: 16, height: 16 };

/** Every label has a colour of its own, no channel of which is grey. */
const COLOURS = Array.from({ length: LABELS }, (_, k) => [200 - 9 * k, 3 + 5 * k, 40 + 8 * k]);

const labelAt = (i: number) =>
  Math.floor(Math.floor(i / SIZE.width) / BLOCK) * 5 + Math.floor((i % SIZE.width) / BLOCK);
const pixels = Array.from({ length: SIZE.width * SIZE.height }, (_, i) => i);
const marked: RgbImage = {
  data: Uint8Array.from(pixels.flatMap((i) => COLOURS[labelAt(i)] as number[])),
  ...SIZE,
};

/** The colour at a pixel, as one number. */
function colourAt({ data }: RgbImage, i: number): number {
  return ((data[3 * i] as number) << 16) | ((data[3 * i + 1] as number) << 8) |
    (data[3 * i + 2] as number);
}

/**
 * Whether a pixel looks so closely at the edge of the image that rounding decides if it is seen.
 */
function isOnEdge(
  i: number,
  { transform: { matrix: [a, b, c, d, e, f] } }: RandAugmentView,
): boolean {
  const [x, y] = [i % SIZE.width, Math.floor(i / SIZE.width)];
  const places = [a * x + b * y + c, d * x + e * y + f];
  const lasts = [SIZE.width - 0.5, SIZE.height - 0.5];
  return places.some((place, axis) =>
    Math.min(Math.abs(place + 0.5), Math.abs(place - (lasts[axis] as number))) < 1e-4
  );
}

/**
 * Checks that where the map shows a label, the image shows what has become of that label's colour,
 * and that what the mask hides is grey.
 *
 * @returns How many colours the labels have become.
 */
async function assertAgrees(gpu: Gpu, view: RandAugmentView): Promise<number> {
  const text = JSON.stringify(view.operations);
  const reach = view.operations.some(({ kind }) => kind === "sharpness") ? [-2, 0, 2] : [0];
  const image = view.render(marked);
  const [height, width] = [SIZE.height, SIZE.width];
  const look = [view.transform.mapView(SIZE, SIZE)];
  using labelMap = gpu.upload(Uint32Array.from(pixels, labelAt), [1, height, width], "labels");
  // One plane a label, as in maps of distances and probabilities.
  const planes = Float32Array.from(
    Array.from({ length: LABELS }, (_, k) => pixels.map((i) => labelAt(i) === k ? 1 : 0)).flat(),
  );
  using planeMaps = gpu.upload(planes, [1, LABELS, height, width], "planes");
  using labels = warpLabelMaps(labelMap, look, SIZE);
  using maps = warpMaps(planeMaps, look, SIZE);
  using mask = warpMask(gpu, look, SIZE, SIZE);
  const [ids, shares, seen] = await gpu.readAll([labels, maps, mask]) as [
    Uint32Array,
    Float32Array,
    Float32Array,
  ];
  const become = new Map<number, number>();
  let [compared, hidden] = [0, 0];
  for (const i of pixels) {
    const [x, y] = [i % width - CUTOUT.left, Math.floor(i / width) - CUTOUT.top];
    if (x >= 0 && y >= 0 && x < CUTOUT.width && y < CUTOUT.height) {
      hidden++;
      assert.equal(colourAt(image, i), 0x7f7f7f, `pixel ${i} of ${text} is cut out`);
      assert.deepEqual([ids[i], seen[i]], [255, 0], `pixel ${i} of ${text} is cut out`);
      continue;
    }
    const label = ids[i] as number;
    // A map of ones has the same four taps as the image; smoothing mixes colours next to an edge.
    const around = reach.flatMap((dy) => reach.map((dx) => i + dy * width + dx));
    const isSure = label !== 255 && !isOnEdge(i, view) &&
      around.every((at) => shares[label * width * height + at] as number > 1 - 1e-6);
    if (!isSure) continue;
    assert.equal(seen[i], 1);
    const colour = colourAt(image, i);
    assert.equal(colour, become.get(label) ?? colour, `pixel ${i}, label ${label} of ${text}`);
    become.set(label, colour);
    compared++;
  }
  assert.equal(hidden, 256);
  assert.ok(compared > 150, `only ${compared} pixels are seen for sure under ${text}`);
  return new Set(become.values()).size / become.size;
}

for (const name of RANDAUGMENT_POOL) {
  Deno.test(`image, labels, maps and mask agree under ${name}`, async () => {
    const gpu = await testGpu();
    for (const [tenths, sign] of [[2, 1], [6, -1], [9, 1]] as const) {
      const view = new RandAugmentView(SIZE, operationsOf(name, tenths, sign, SIZE), CUTOUT);
      const share = await assertAgrees(gpu, view);
      if (name !== "posterize" && name !== "solarize") {
        assert.equal(share, 1, `labels of different colours stay so at ${tenths} tenths`);
      }
    }
  });
}

Deno.test("image, labels, maps and mask agree under thirty random orders of many operations", async () => {
  const gpu = await testGpu();
  const random = new Random(11);
  for (let round = 0; round < 30; round++) {
    const operations: (Move | PixelOperation)[] = [];
    const names = [...RANDAUGMENT_POOL];
    for (let draw = 0; draw < 5; draw++) {
      if (random.uniform() < 0.3) operations.push({ kind: "flip" });
      const [name] = names.splice(random.below(names.length), 1);
      const sign = random.uniform() < 0.5 ? 1 : -1;
      if (name) operations.push(...operationsOf(name, 1 + random.below(4), sign, SIZE));
    }
    await assertAgrees(gpu, new RandAugmentView(SIZE, operations, CUTOUT));
  }
});

Deno.test("colours are changed before or after the move, as they were drawn", () => {
  const cutout = { left: 0, top: 0, width: 1, height: 1 };
  const move: Move = { kind: "translate", x: 20, y: 0 };
  const { matrix } = new RandAugmentView(SIZE, [move], cutout).transform;
  const cut = ({ data }: RgbImage) => data.fill(127, 0, 3);
  for (const kind of ["autoContrast", "equalize"] as const) {
    const change = { kind };
    const render = (...operations: (Move | PixelOperation)[]) =>
      new RandAugmentView(SIZE, operations, cutout).render(marked).data;
    const early: Uint8Array = render(change, move);
    const late: Uint8Array = render(move, change);
    assert.deepEqual(early, cut(renderView(changeColours(marked, change), matrix, SIZE)));
    assert.deepEqual(late, cut(changeColours(renderView(marked, matrix, SIZE), change)));
    assert.notDeepEqual(early, late, "the grey border has a part in the histogram");
  }
});

Deno.test("an operation is drawn as often as any other, and done half of the time at any strength", () => {
  const size = { width: 96, height: 48 };
  const uses = new Map<string, number>();
  const factors = new Set<number>();
  const count = 4000;
  for (let i = 0; i < count; i++) {
    const { operations, cutout, transform } = randAugmentView(new Random(3, `view/${i}`), size);
    assert.deepEqual(transform.outputSize, size);
    for (const operation of operations) {
      const { kind } = operation; // a shear takes two steps, of which one is a translation
      uses.set(kind, (uses.get(kind) ?? 0) + 1);
      if (kind === "brightness") factors.add(operation.factor);
    }
    const { left, top, width, height } = cutout;
    assert.ok(left >= 0 && top >= 0 && left + width <= 96 && top + height <= 48);
    assert.ok(width === 16 || left + width === 96, "as wide as a third of the short side");
    assert.ok(height === 16 || top + height === 48, "as high as a third of the short side");
  }
  assert.deepEqual(
    [...factors].sort(),
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map((tenths) => tenths * 0.9 / 10 + 0.05),
  );
  // Two draws of one in fourteen, half of them done: 286 of 4000, with a deviation of 16.
  const expected = new Map([["flip", count / 2], ["shear", count / 7], [
    "translate",
    2 * count / 7,
  ]]);
  for (const [kind, found] of uses) {
    const wanted = expected.get(kind) ?? count / 14;
    assert.ok(Math.abs(found - wanted) < 6 * Math.sqrt(wanted), `${kind}: ${found}, not ${wanted}`);
  }
  assert.deepEqual(
    [...uses.keys()].sort(),
    [...new Set(RANDAUGMENT_POOL.map((name) => name.replace(/[XY]$/, "")))]
      .filter((kind) => kind !== "identity").concat("flip").sort(),
  );
});

Deno.test("the weak view that is rendered is the one of the GPU, rounded to 8 bits", async () => {
  const gpu = await testGpu();
  const noise = new Random(2);
  const data = Uint8Array.from({ length: 3 * 50 * 40 }, () => noise.below(256));
  const image = { data, width: 50, height: 40 };
  const crop = { width: 37, height: 29 };
  const view = { crop, longSide: 60, scales: [0.5, 1.5], flip: 0.5 } as const;
  const options = { seed: 4, stage: "stage1", view };
  using packed = packImages(gpu, [image]);
  for (let position = 0; position < 10; position++) {
    const { weak, strong } = drawTargetViews(options, position, image);
    const pixels = renderTargetViews(options, position, image);
    using exact = warpImages(packed, [weak.imageView()], crop);
    const values = await exact.read();
    const plane = crop.width * crop.height;
    const found = values.map((_, i) => pixels.weak.data[3 * (i % plane) + Math.floor(i / plane)]);
    assertAllClose("weak", found, values.map((value) => value * 255), { atol: 0.501, rtol: 0 });
    assertSame(pixels.strong, strong.render(pixels.weak), "the strong view is made of it");
  }
});
