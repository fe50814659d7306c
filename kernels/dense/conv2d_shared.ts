// Correlation of images with packed weights by tiles in workgroup memory, for GPUs; formulas in the
// WGSL.

import {
  CORRELATION_PARAMS,
  type CorrelationArrays,
  type CorrelationParams,
  correlationParams,
  type CorrelationPlaces,
} from "./conv2d_correlation.ts";
import source from "./conv2d_shared.wgsl" with { type: "text" };
import { mostSplitsOf, withParts } from "./matmul_shared.ts";
import { dispatch, type GpuArray, type Precision } from "../runtime/mod.ts";
import {
  byTiles,
  defineTileKernels,
  type Extent,
  type SharedTile,
  TILE_PARAMS,
  tileChoice,
  tilingOf,
} from "./shared_tiles.ts";

const kernelOf = defineTileKernels({
  name: "conv2d_shared.correlate",
  file: "kernels/dense/conv2d_shared.wgsl",
  source,
  entry: "correlate",
  reads: ["x", "weight", "bias"],
  writes: ["y"],
  params: { ...CORRELATION_PARAMS, accumulate: "u32", ...TILE_PARAMS },
});

/** `correlate` of conv2d.ts in the shared class. */
export function correlateShared(
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  flops: number,
  precision: Precision,
): void {
  const { x, weight, y } = arrays;
  const params = correlationParams({ ...arrays, bias: null }, places);
  const tile = x.gpu.choices.choose({
    ...tileChoice(x.gpu, extentOf(y, params), precision),
    key: `conv2d_shared ${Object.values(params).join(" ")} ${precision}`,
    arrays: [x, weight, y],
    run: (tile, [x, weight, y]) =>
      correlateTiles(kernelOf(tile, precision), tile, { x, weight, bias: null, y }, places, flops),
  });
  correlateTiles(kernelOf(tile, precision), tile, arrays, places, flops);
}

function extentOf(y: GpuArray, params: CorrelationParams): Extent {
  const { images, outChannels, rows, columns, inChannels, tapRows, tapColumns, yStep } = params;
  return {
    rows: outChannels,
    columns: images * rows * columns,
    batch: 1,
    depth: inChannels * tapRows * tapColumns,
    mostSplits: yStep === 1 ? mostSplitsOf(y) : 1, // parts are added up all over y
  };
}

function correlateTiles(
  kernel: ReturnType<typeof kernelOf>,
  tile: SharedTile,
  arrays: CorrelationArrays,
  places: CorrelationPlaces,
  flops: number,
): void {
  const { x, weight, y, bias, accumulate = false } = arrays;
  const sizes = correlationParams(arrays, places);
  const tiling = tilingOf(tile, extentOf(y, sizes));
  const { outChannels: rows, outHeight, outWidth } = sizes;
  const output = { y, bias, rows, columns: outHeight * outWidth, accumulate };
  withParts(
    output,
    tiling,
    (y, bias, accumulate) =>
      byTiles(tile, tiling, flops, (params, grid, options) =>
        dispatch(
          kernel,
          { x, weight, bias: bias ?? weight, y }, // without a bias the binding is never read
          { ...sizes, hasBias: bias ? 1 : 0, accumulate: accumulate ? 1 : 0, ...params },
          grid,
          options,
        )),
  );
}
