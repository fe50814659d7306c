// Matrix products by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import type { MultiplyArrays, MultiplySizes } from "./matmul.ts";
import source from "./matmul_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch } from "./runtime/mod.ts";
import {
  byTiles,
  fittingTile,
  SHARED_TILES,
  type SharedTile,
  tileCount,
  TILES_BY_NAME,
} from "./shared_tiles.ts";

const kernels = new Map(SHARED_TILES.map((tile) => [
  tile,
  defineKernel({
    name: `matmul_shared.multiply ${tile.name}`,
    file: "kernels/matmul_shared.wgsl",
    source,
    entry: "multiply",
    reads: ["left", "right", "bias"],
    writes: ["c"],
    params: {
      rows: "u32",
      depth: "u32",
      columnQuads: "u32",
      spanQuads: "u32",
      hasBias: "u32",
      leftPerBatch: "u32",
      firstTile: "u32",
      endTile: "u32",
    },
    constants: tile.constants,
  }),
]));

/** `multiply` of matmul.ts in the shared class. */
export function multiplyShared(arrays: MultiplyArrays, sizes: MultiplySizes): void {
  const { left, right, c } = arrays;
  const { rows, depth } = sizes;
  const { spans, span } = spansOf(sizes);
  const tile = c.gpu.choices.choose({
    key: `matmul_shared ${rows}×${depth}×${span}, ${spans} times`,
    candidates: TILES_BY_NAME,
    expected: fittingTile(rows, span, spans).name,
    arrays: [left, right, c],
    run: (tile, [left, right, c]) => multiplyTiles(tile, { left, right, bias: null, c }, sizes),
  });
  multiplyTiles(tile, arrays, sizes);
}

/** Columns that share a left operand, and how many times there are as many. */
function spansOf({ batch, columns, leftPerBatch }: MultiplySizes): { spans: number; span: number } {
  return leftPerBatch ? { spans: batch, span: columns } : { spans: 1, span: batch * columns };
}

function multiplyTiles(
  tile: SharedTile,
  { left, right, bias, c }: MultiplyArrays,
  sizes: MultiplySizes,
): void {
  const { batch, rows, depth, columns, leftPerBatch = false } = sizes;
  const { spans, span } = spansOf(sizes);
  const tiles = tileCount(tile, rows, span, spans);
  const flops = 2 * batch * rows * columns * depth;
  byTiles(tile, tiles, depth, (firstTile, endTile, grid) =>
    dispatch(
      kernels.get(tile)!,
      { left, right, bias: bias ?? left, c }, // without a bias the binding is never read
      {
        rows,
        depth,
        columnQuads: columns / 4,
        spanQuads: span / 4,
        hasBias: bias ? 1 : 0,
        leftPerBatch: leftPerBatch ? 1 : 0,
        firstTile,
        endTile,
      },
      grid,
      { flops: flops * (endTile - firstTile) / tiles },
    ));
}
