// Correlation of images with packed weights by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import {
  CORRELATION_PARAMS,
  type CorrelationArrays,
  type CorrelationParams,
  correlationParams,
  type CorrelationPlaces,
} from "./conv2d_correlation.ts";
import source from "./conv2d_shared.wgsl" with { type: "text" };
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
    name: `conv2d_shared.correlate ${tile.name}`,
    file: "kernels/conv2d_shared.wgsl",
    source,
    entry: "correlate",
    reads: ["x", "weight", "bias"],
    writes: ["y"],
    params: { ...CORRELATION_PARAMS, firstTile: "u32", endTile: "u32" },
    constants: tile.constants,
  }),
]));

/** `correlate` of conv2d.ts in the shared class. */
export function correlateShared(
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  flops: number,
): void {
  const { x, weight, y } = arrays;
  const params = correlationParams({ ...arrays, bias: null }, places);
  const tile = x.gpu.choices.choose({
    key: `conv2d_shared ${Object.values(params).join(" ")}`,
    candidates: TILES_BY_NAME,
    expected: fittingTile(params.outChannels, positionsOf(params)).name,
    arrays: [x, weight, y],
    run: (tile, [x, weight, y]) =>
      correlateTiles(tile, { x, weight, bias: null, y }, places, flops),
  });
  correlateTiles(tile, arrays, places, flops);
}

function positionsOf({ images, rows, columns }: CorrelationParams): number {
  return images * rows * columns;
}

function correlateTiles(
  tile: SharedTile,
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  flops: number,
): void {
  const { x, weight, bias, y } = arrays;
  const params = correlationParams(arrays, places);
  const { inChannels, outChannels, tapRows, tapColumns } = params;
  const tiles = tileCount(tile, outChannels, positionsOf(params));
  byTiles(tile, tiles, inChannels * tapRows * tapColumns, (firstTile, endTile, grid) =>
    dispatch(
      kernels.get(tile)!,
      { x, weight, bias: bias ?? weight, y }, // without a bias the binding is never read
      { ...params, firstTile, endTile },
      grid,
      { flops: flops * (endTile - firstTile) / tiles },
    ));
}
