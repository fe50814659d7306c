// Sizes of the parts of classes, against flooding every part pixel by pixel.

import assert from "node:assert/strict";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { Random } from "../../../nn/random.ts";
import { PartSizes } from "../../../train/data/part_sizes.ts";

/** The areas of the 4-connected parts of every class, by flooding. */
function flooded(data: Uint8Array, width: number): [id: number, area: number][] {
  const seen = new Set<number>();
  const parts: [number, number][] = [];
  data.forEach((id, start) => {
    if (id === IGNORE || seen.has(start)) return;
    const queue = [start];
    seen.add(start);
    for (let at = 0; at < queue.length; at++) {
      const place = queue[at];
      const x = place % width;
      const next = [place - width, place + width];
      if (x > 0) next.push(place - 1);
      if (x < width - 1) next.push(place + 1);
      for (const to of next) {
        if (data[to] !== id || seen.has(to)) continue;
        seen.add(to);
        queue.push(to);
      }
    }
    parts.push([id, queue.length]);
  });
  return parts;
}

Deno.test("parts are those that flooding finds, in labels of any kind", () => {
  for (let index = 0; index < 60; index++) {
    const random = new Random(index, "parts");
    const [width, height] = [1 + random.below(23), 1 + random.below(17)];
    const ids = [0, 1, 2, IGNORE].slice(0, 2 + random.below(3));
    const data = Uint8Array.from({ length: width * height }, () => ids[random.below(ids.length)]);
    const parts = new PartSizes();
    parts.addLabel(data, { width, height });
    for (const wanted of [0, 1, 2]) {
      const found = parts.sizes(wanted);
      const shares = found.flatMap(({ share, count }) => Array<number>(count).fill(share));
      const expected = flooded(data, width).filter(([id]) => id === wanted)
        .map(([, area]) => Math.sqrt(area) / Math.max(width, height))
        .sort((a, b) => b - a);
      assert.equal(shares.length, expected.length, `label ${index}, class ${wanted}`);
      expected.forEach((share, at) => near(shares[at], share));
    }
  }
});

/** A label of squares of one class, each as many pixels wide as given, a pixel apart. */
function squares(sides: readonly number[]): { data: Uint8Array; width: number; height: number } {
  const [width, height] = [512, 128];
  const data = new Uint8Array(width * height).fill(IGNORE);
  let left = 0;
  for (const side of sides) {
    for (let y = 0; y < side; y++) data.fill(1, y * width + left, y * width + left + side);
    left += side + 1;
  }
  return { data, width, height };
}

function typical(...labels: ReturnType<typeof squares>[]): number {
  const parts = new PartSizes();
  for (const label of labels) parts.addLabel(label.data, label);
  return 512 * (parts.typical(1) as number);
}

function near(found: number, expected: number): void {
  assert.ok(Math.abs(found / expected - 1) < 0.03, `${found}, expected ${expected}`);
}

Deno.test("the typical part is the median one, and specks and torn edges are none", () => {
  near(typical(squares([20])), 20);
  near(typical(squares([10, 20, 60])), 20);
  near(typical(squares([10, 10, 10]), squares([64])), 10);
  const specks = Array<number>(150).fill(1);
  near(typical(squares([40, 40, ...specks])), 40);
  near(typical(squares([8, 8, 8, 8, 8, 8, 8, 100])), 100); // they hold 4 % of the pixels together
  const parts = new PartSizes();
  assert.equal(parts.typical(1), null, "there is no part");
});

Deno.test("sizes are shares of the long side, so that images of any size count alike", () => {
  const data = new Uint8Array(40 * 100).fill(3);
  const tall = new PartSizes();
  tall.addLabel(data, { width: 40, height: 100 });
  near(tall.typical(3) as number, Math.sqrt(4000) / 100);
  const sum = new PartSizes(tall.counts);
  sum.add(tall.counts);
  assert.deepEqual([...sum.counts.values()], [2]);
});

Deno.test("a part that touches another at a corner alone is another", () => {
  const parts = new PartSizes();
  parts.addLabel(Uint8Array.of(1, 0, 0, 1), { width: 2, height: 2 });
  assert.deepEqual([...parts.counts.values()], [2, 2]);
});

Deno.test("of a label beyond four million pixels every second row and column is looked at", () => {
  const [width, height] = [4096, 2048];
  const data = new Uint8Array(width * height).fill(IGNORE);
  for (let y = 100; y < 300; y++) data.fill(1, y * width + 500, y * width + 700);
  data[0] = 1;
  data[width + 1] = 2; // lies between
  const parts = new PartSizes();
  parts.addLabel(data, { width, height });
  near(4096 * (parts.typical(1) as number), 200);
  assert.equal(parts.typical(2), null);
});
