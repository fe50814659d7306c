import { strict as assert } from "node:assert";
import type { Gpu } from "../../../kernels/runtime/mod.ts";
import {
  packImages,
  packLabels,
  warpImages,
  warpLabels,
  warpMaps,
  warpMask,
} from "../../../kernels/warp.ts";
import { Random } from "../../../nn/random.ts";
import {
  fullView,
  strongView,
  type ViewOperation,
  ViewTransform,
  weakView,
} from "../../../train/views/views.ts";
import { assertAllClose } from "../../_check.ts";
import { testGpu } from "../../_device.ts";

type Size = ViewTransform["inputSize"];
type Point = readonly [x: number, y: number];

/**
 * Where a point of the frame goes under an operation, in the words of the operation's description:
 * forwards, where the library computes backwards.
 */
function moved([x, y]: Point, operation: ViewOperation, { width, height }: Size): Point {
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const [dx, dy] = [x - middleX, y - middleY];
  switch (operation.kind) {
    case "resize":
      return [
        x * (operation.width - 1) / (width - 1),
        y * (operation.height - 1) / (height - 1),
      ];
    case "crop":
      return [x - operation.left, y - operation.top];
    case "flip":
      return [width - 1 - x, y];
    case "rotate": {
      const turned = Math.atan2(dy, dx) + operation.degrees * Math.PI / 180; // y points down
      const radius = Math.hypot(dx, dy);
      return [middleX + radius * Math.cos(turned), middleY + radius * Math.sin(turned)];
    }
    case "shear":
      return [x + operation.x * dy, y + operation.y * dx];
    case "translate":
      return [x + operation.x, y + operation.y];
    case "scale":
      return [middleX + operation.factor * dx, middleY + operation.factor * dy];
    case "cutout":
      return [x, y];
  }
}

function sizeAfter(operation: ViewOperation, size: Size): Size {
  return operation.kind === "resize" || operation.kind === "crop" ? operation : size;
}

interface Followed {
  readonly point: Point;
  readonly isCut: boolean;
  /** Whether it passed an edge so closely that rounding decides. */
  readonly isSure: boolean;
}

/** Where a point of the image lies in the view, and whether it was cut out on the way. */
function follow(point: Point, view: ViewTransform): Followed {
  let size = view.inputSize;
  let [isCut, isSure] = [false, true];
  for (const operation of view.operations) {
    if (operation.kind === "cutout") {
      const { left, top, width, height } = operation;
      // How far inside the rectangle; its edges lie between pixels.
      const [x, y] = [point[0] - left + 0.5, point[1] - top + 0.5];
      const depth = Math.min(x, width - x, y, height - y);
      isCut = depth > 0;
      isSure = Math.abs(depth) > MARGIN;
    }
    point = moved(point, operation, size);
    size = sizeAfter(operation, size);
  }
  return { point, isCut, isSure };
}

/** The inverse of `follow`, from three followed points, as everything is affine. */
function placesIn(view: ViewTransform): (x: number, y: number) => Point {
  const [[x0, y0], [x1, y1], [x2, y2]] = ([[0, 0], [1, 0], [0, 1]] as const).map((point) =>
    follow(point, view).point
  ) as [Point, Point, Point];
  const [ax, ay, bx, by] = [x1 - x0, y1 - y0, x2 - x0, y2 - y0];
  const determinant = ax * by - bx * ay;
  return (x, y) => [
    ((x - x0) * by - (y - y0) * bx) / determinant,
    ((y - y0) * ax - (x - x0) * ay) / determinant,
  ];
}

const MARGIN = 0.001;
const IMAGE = { width: 35, height: 25 };
/** A map of half the image's scale: its pixel (x, y) lies on the image's pixel (2x, 2y). */
const MAP = { width: 18, height: 13 };
/** Side of the blocks of one label, of which the image holds whole ones. */
const BLOCK = 5;

function labelAt([x, y]: Point): number {
  return Math.floor((y + 0.5) / BLOCK) * 7 + Math.floor((x + 0.5) / BLOCK);
}

/** Whether a place is so near to the edge of a block or the image that rounding decides. */
function isOnEdge(place: Point): boolean {
  return place.some((at) => {
    const blocks = (at + 0.5) / BLOCK;
    return Math.abs(blocks - Math.round(blocks)) < MARGIN;
  });
}

/** Two planes that hold their pixels' own place in the image. */
function ramps({ width, height }: Size, step: number): Float32Array {
  const pixels = [...Array(width * height).keys()];
  return Float32Array.from([
    ...pixels.map((i) => (i % width) * step),
    ...pixels.map((i) => Math.floor(i / width) * step),
  ]);
}

/**
 * What a view shows of a marked image: every pixel and feature tells its own place in the image.
 */
async function look(gpu: Gpu, view: ViewTransform, mapSize: Size) {
  const { width, height } = IMAGE;
  const pixels = Array.from(
    { length: width * height },
    (_, i) => [i % width, Math.floor(i / width)],
  );
  const rgb = Uint8Array.from(pixels.flatMap(([x = 0, y = 0]) => [4 * x, 4 * y, 0]));
  const label = Uint8Array.from(pixels.map(([x = 0, y = 0]) => labelAt([x, y])));
  const [imageView, mapView] = [[view.imageView()], [view.mapView(MAP, mapSize)]];
  const size = view.outputSize;
  using packed = packImages(gpu, [{ data: rgb, ...IMAGE }]);
  using packedLabel = packLabels(gpu, [{ data: label, ...IMAGE }]);
  using features = gpu.upload(ramps(MAP, 2), [1, 2, MAP.height, MAP.width], "features");
  using image = warpImages(packed, imageView, size);
  using labels = warpLabels(packedLabel, imageView, size);
  using mask = warpMask(gpu, imageView, IMAGE, size);
  using maps = warpMaps(features, mapView, mapSize);
  using mapMask = warpMask(gpu, mapView, MAP, mapSize);
  const [colours, ids, seen, values, mapSeen] = [
    await image.read(),
    await labels.read(),
    await mask.read(),
    await maps.read(),
    await mapMask.read(),
  ];
  const pair = (
    numbers: Float32Array,
    i: number,
    { width, height }: Size,
  ): Point => [numbers[i] ?? NaN, numbers[i + width * height] ?? NaN];
  return {
    ids,
    seen,
    mapSeen,
    colourPlace: (i: number) => pair(colours, i, size).map((value) => value * 255 / 4),
    featurePlace: (i: number) => pair(values, i, mapSize),
  };
}

/** Checks that image, label, mask and map all show the places that the operations say. */
async function assertAgrees(gpu: Gpu, view: ViewTransform): Promise<void> {
  const { width, height } = view.outputSize;
  // About half the view's scale; the corners' centres meet whatever the sides.
  const mapSize = { width: Math.ceil(width / 2), height: Math.ceil(height / 2) };
  const found = await look(gpu, view, mapSize);
  const placeOf = placesIn(view);
  const text = JSON.stringify(view.operations);
  const clamped = ([x, y]: Point): Point => [
    Math.min(Math.max(x, 0), IMAGE.width - 1),
    Math.min(Math.max(y, 0), IMAGE.height - 1),
  ];
  let compared = 0;
  for (let i = 0; i < width * height; i++) {
    const place = placeOf(i % width, Math.floor(i / width));
    const { isCut, isSure } = follow(place, view);
    if (isOnEdge(place) || !isSure) continue;
    const [x, y] = place;
    const isInside = x > -0.5 && y > -0.5 && x < IMAGE.width - 0.5 && y < IMAGE.height - 0.5;
    const isSeen = isInside && !isCut;
    assert.equal(found.seen[i], isSeen ? 1 : 0, `pixel ${i} of the mask of ${text}`);
    assert.equal(found.ids[i], isSeen ? labelAt(place) : 255, `pixel ${i} of labels of ${text}`);
    if (!isSeen) continue;
    assertAllClose(`pixel ${i} of ${text}`, found.colourPlace(i), clamped(place), { atol: 2e-4 });
    compared++;
  }
  for (let i = 0; i < mapSize.width * mapSize.height; i++) {
    const column = (i % mapSize.width) * (width - 1) / (mapSize.width - 1);
    const row = Math.floor(i / mapSize.width) * (height - 1) / (mapSize.height - 1);
    const place = placeOf(column, row);
    const { isCut, isSure } = follow(place, view);
    if (!isSure) continue;
    if (isCut) assert.equal(found.mapSeen[i], 0, `feature ${i} of the mask of ${text}`);
    if (found.mapSeen[i] === 0) continue;
    assertAllClose(`feature ${i} of ${text}`, found.featurePlace(i), clamped(place), {
      atol: 2e-4,
    });
    compared++;
  }
  assert.ok(compared > 150, `only ${compared} pixels and features are seen under ${text}`);
}

const OPERATIONS: readonly ViewOperation[] = [
  { kind: "resize", width: 53, height: 31 },
  { kind: "crop", left: 5, top: -3, width: 33, height: 27 },
  { kind: "flip" },
  { kind: "rotate", degrees: 24 },
  { kind: "shear", x: 0.27, y: 0 },
  { kind: "shear", x: 0, y: -0.19 },
  { kind: "translate", x: 3.7, y: -2.3 },
  { kind: "scale", factor: 0.83 },
  { kind: "cutout", left: 9, top: 4, width: 7, height: 8 },
];

for (const operation of OPERATIONS) {
  Deno.test(`image, label, mask and map agree under ${operation.kind} ${JSON.stringify(operation)}`, async () => {
    await assertAgrees(await testGpu(), new ViewTransform(IMAGE, [operation]));
  });
}

Deno.test("image, label, mask and map agree under twenty random orders of all operations", async () => {
  const gpu = await testGpu();
  const random = new Random(5);
  for (let round = 0; round < 20; round++) {
    const rest = [...OPERATIONS];
    let view = new ViewTransform(IMAGE);
    while (rest.length > 0) {
      const [operation] = rest.splice(random.below(rest.length), 1);
      if (operation) view = view.append(operation);
    }
    await assertAgrees(gpu, view);
  }
});

Deno.test("the full view is the image itself, bit by bit, at any scale of its maps", async () => {
  const gpu = await testGpu();
  const view = fullView(IMAGE);
  assert.deepEqual(view.outputSize, IMAGE);
  for (const size of [IMAGE, MAP, { width: 1, height: 1 }]) {
    assert.deepEqual(
      view.matrixFor(size, size),
      [1, 0, 0, 0, 1, 0].map((v, i) => size.width === 1 && i % 4 === 0 ? 0 : v),
    );
  }
  using features = gpu.upload(ramps(MAP, 0.1), [1, 2, MAP.height, MAP.width], "features");
  using same = warpMaps(features, [view.mapView(MAP, MAP)], MAP);
  assert.deepEqual(await same.read(), await features.read());
});

Deno.test("a view is refused where an operation has no way back, a side is empty, or two parts are cut", () => {
  const make = (...operations: ViewOperation[]) => () => new ViewTransform(IMAGE, operations);
  const cutout = { kind: "cutout", left: 0, top: 0, width: 3, height: 3 } as const;
  assert.throws(make({ kind: "scale", factor: 0 }), {
    name: "RangeError",
    message: /a way back: they are \[{"kind":"scale","factor":0}\]/,
  });
  assert.throws(make({ kind: "translate", x: NaN, y: 0 }), { name: "RangeError" });
  assert.throws(make({ kind: "shear", x: 2, y: 0.5 }), { name: "RangeError" });
  assert.throws(make({ kind: "resize", width: 0, height: 3 }), /they are 3 and 0/);
  assert.throws(make(cutout, { kind: "flip" }, cutout), /two cutouts/);
  assert.throws(() => new ViewTransform({ width: 2.5, height: 3 }), /they are 3 and 2.5/);
});

/** Draws of a view from streams of their own. */
function drawn<T>(count: number, draw: (random: Random) => T): T[] {
  return Array.from({ length: count }, (_, i) => draw(new Random(3, `view/${i}`)));
}

const WEAK = {
  crop: { height: 20, width: 30 },
  longSide: 80,
  scales: [0.5, 1.5],
  flip: 0.5,
} as const;

Deno.test("weak views are crops of the resized image, half of them flipped", () => {
  const views = drawn(400, (random) => weakView(random, { width: 60, height: 40 }, WEAK));
  const lefts = new Set<number>();
  for (const { outputSize, operations: [resize, crop] } of views) {
    assert.deepEqual(outputSize, WEAK.crop);
    assert.ok(resize?.kind === "resize" && crop?.kind === "crop");
    assert.ok(resize.width >= 40 && resize.width <= 120, `resized to ${resize.width}`);
    assert.ok(Math.abs(resize.height - resize.width * 2 / 3) <= 1, "the aspect stays");
    assert.ok(crop.left >= 0 && crop.left + 30 <= resize.width, "the crop lies inside");
    assert.ok(crop.top >= 0 && crop.top + 20 <= resize.height, "the crop lies inside");
    lefts.add(crop.left);
  }
  assert.ok(lefts.size > 50, "crops start anywhere");
  const flips = views.filter(({ operations }) => operations.length === 3).length;
  assert.ok(flips > 160 && flips < 240, `${flips} of 400 are flipped`);
});

Deno.test("weak views of images smaller than the crop hold the whole image and padding around it", () => {
  const small = { ...WEAK, longSide: 24, scales: [1, 1] as const, flip: 0 };
  const views = drawn(100, (random) => weakView(random, { width: 60, height: 40 }, small));
  const places = views.map(({ operations: [, crop] }) => {
    assert.ok(crop?.kind === "crop");
    assert.ok(-crop.left >= 0 && -crop.left + 24 <= 30, "the image lies inside");
    assert.ok(-crop.top >= 0 && -crop.top + 16 <= 20, "the image lies inside");
    return `${crop.left},${crop.top}`;
  });
  assert.ok(new Set(places).size > 20, "the image lies anywhere");
});

Deno.test("strong views do each operation half of the time, and cut out a third of the short side", () => {
  const views = drawn(400, (random) => strongView(random, { width: 96, height: 48 }));
  const uses = new Map<string, number>();
  for (const { transform } of views) {
    assert.deepEqual(transform.outputSize, { width: 96, height: 48 });
    for (const operation of transform.operations) {
      uses.set(operation.kind, (uses.get(operation.kind) ?? 0) + 1);
      if (operation.kind === "cutout") {
        const { left, top, width, height } = operation;
        assert.deepEqual([width, height], [16, 16]);
        assert.ok(left >= 0 && top >= 0 && left + 16 <= 96 && top + 16 <= 48);
      }
    }
  }
  for (const kind of ["flip", "rotate", "translate", "scale", "cutout"]) {
    const count = uses.get(kind) ?? 0;
    assert.ok(count > 160 && count < 240, `${count} of 400 use ${kind}`);
  }
  const plain = views.filter(({ colour }) => colour.flat().join() === "1,0,0,0,0,1,0,0,0,0,1,0");
  assert.ok(plain.length > 10 && plain.length < 45, `${plain.length} of 400 keep their colours`);
});

Deno.test("views depend on nothing but their stream of random numbers", () => {
  const size = { width: 60, height: 40 };
  const draw = (random: Random) => {
    const weak = weakView(random, size, WEAK);
    const strong = strongView(random, WEAK.crop);
    return JSON.stringify([weak.operations, strong.transform.operations, strong.colour]);
  };
  assert.deepEqual(drawn(20, draw), drawn(20, draw));
  assert.equal(new Set(drawn(20, draw)).size, 20);
});

Deno.test("views of images carry fill and colours, views of maps neither", () => {
  const { transform, colour } = strongView(new Random(1), { width: 9, height: 7 });
  const image = transform.imageView(colour);
  assert.equal(image.fill, 127 / 255);
  assert.equal(image.colour, colour);
  const map = transform.mapView({ width: 5, height: 4 }, { width: 5, height: 4 });
  assert.deepEqual([map.fill, map.colour], [undefined, undefined]);
});
