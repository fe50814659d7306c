// Matrix products by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import type { MultiplyArrays, MultiplySizes } from "./matmul.ts";
import source from "./matmul_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch } from "./runtime/mod.ts";
import { byTiles, fittingTile, SHARED_TILES, tileCount } from "./shared_tiles.ts";

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
export function multiplyShared(
  { left, right, bias, c }: MultiplyArrays,
  { batch, rows, depth, columns, leftPerBatch = false }: MultiplySizes,
): void {
  const spans = leftPerBatch ? batch : 1;
  const span = batch / spans * columns;
  const tile = fittingTile(rows, span, spans);
  const kernel = kernels.get(tile)!;
  const tiles = tileCount(tile, rows, span, spans);
  const flops = 2 * batch * rows * columns * depth;
  byTiles(tile, tiles, depth, (firstTile, endTile, grid) =>
    dispatch(
      kernel,
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
