// How tiles of the shared class cover a product: which tile, in how many parts and dispatches.

import { strict as assert } from "node:assert";
import {
  byTiles,
  type Extent,
  SHARED_TILES,
  type SharedTile,
  tileChoice,
  tilingOf,
} from "../../../kernels/dense/shared_tiles.ts";
import { planningGpu } from "../../../kernels/runtime/mod.ts";

function gpuOf(vendor: string) {
  return planningGpu({
    adapter: { description: "a GPU", vendor, isFallback: false, features: [] },
  });
}

const LARGE: Extent = { rows: 4096, columns: 4096, batch: 1, depth: 4096, mostSplits: 9 };
/** A convolution of 256 channels on 64 × 112 pixels. */
const LONG: Extent = { rows: 256, columns: 7168, batch: 1, depth: 2304, mostSplits: 100 };
const SMALL: Extent = { rows: 64, columns: 512, batch: 1, depth: 64, mostSplits: 100 };

/** What a vendor's GPU is expected to take, and whether that is the cheapest. */
function expectedTile(vendor: string, extent: Extent): SharedTile {
  using gpu = gpuOf(vendor);
  const { candidates, expected, cost } = tileChoice(gpu, extent, "f32");
  for (const name of candidates.keys()) assert.ok(cost!(expected) <= cost!(name), name);
  return candidates.get(expected)!;
}

Deno.test("large products take the largest tile, small ones a small one that more processors share", () => {
  assert.equal(expectedTile("4318", LARGE).name, "128×128");
  assert.equal(expectedTile("4318", SMALL).name, "32×64");
});

Deno.test("on Intel's GPUs an invocation owns 4 × 8 outputs, as its compiler spills more", () => {
  for (const vendor of ["32902", "intel", "Intel Inc."]) {
    for (const extent of [LARGE, LONG, SMALL]) {
      assert.equal(expectedTile(vendor, extent).constants.ROW_QUADS, 1, vendor);
    }
  }
});

Deno.test("tiles have different names, and invocations that every adapter runs", () => {
  assert.equal(new Set(SHARED_TILES.map(({ name }) => name)).size, SHARED_TILES.length);
  for (const { threads, rows, columns, constants } of SHARED_TILES) {
    assert.ok(threads % 32 === 0 && threads <= 256);
    assert.equal(rows * columns, threads * constants.ROW_QUADS * 32);
  }
});

Deno.test("long sums of few outputs are split until a large adapter has several rounds of tiles", () => {
  for (const tile of SHARED_TILES) {
    const { tiles, splits, termsPerSplit } = tilingOf(tile, LONG);
    assert.equal(tiles, Math.ceil(256 / tile.rows) * Math.ceil(7168 / tile.columns) * splits);
    assert.ok(termsPerSplit * splits >= 2304 && termsPerSplit * (splits - 1) < 2304);
  }
  const [largest] = SHARED_TILES as [SharedTile];
  assert.ok(tilingOf(largest, LONG).tiles >= 384);
  assert.equal(tilingOf(largest, { ...LONG, mostSplits: 1 }).splits, 1);
  assert.equal(tilingOf(largest, LARGE).splits, 1, "enough tiles");
  assert.equal(tilingOf(largest, { ...LONG, depth: 256 }).splits, 1, "a short sum");
});

Deno.test("what is too long for one dispatch is cut evenly", () => {
  const [largest] = SHARED_TILES as [SharedTile];
  const extent = { ...LARGE, columns: 3 * 4096 };
  const tiling = tilingOf(largest, extent);
  const ranges: [number, number, number][] = [];
  const flops = 2 * extent.rows * extent.columns * extent.depth;
  byTiles(largest, tiling, flops, ({ firstTile, endTile }, [groups], { flops }) => {
    assert.equal(groups, endTile - firstTile);
    ranges.push([firstTile, endTile, flops!]);
  });
  assert.deepEqual(ranges, [0, 1, 2].map((i) => [i * 1024, (i + 1) * 1024, 2 * 4096 ** 3]));
});
