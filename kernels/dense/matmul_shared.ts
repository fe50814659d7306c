// Matrix products by tiles in workgroup memory, for GPUs; formulas in the WGSL.

import type { MultiplyArrays, MultiplySizes } from "./matmul_shape.ts";
import source from "./matmul_shared.wgsl" with { type: "text" };
import { defineKernel, dispatch, type GpuArray } from "../runtime/mod.ts";
import {
  byTiles,
  defineTileKernels,
  type Extent,
  type SharedTile,
  TILE_PARAMS,
  tileChoice,
  type Tiling,
  tilingOf,
} from "./shared_tiles.ts";

const shared = { file: "kernels/dense/matmul_shared.wgsl", source } as const;
const kernelOf = defineTileKernels({
  ...shared,
  name: "matmul_shared.multiply",
  entry: "multiply",
  reads: ["left", "right", "bias"],
  writes: ["c"],
  params: {
    rows: "u32",
    depth: "u32",
    batch: "u32",
    columnQuads: "u32",
    spanQuads: "u32",
    hasBias: "u32",
    leftPerBatch: "u32",
    accumulate: "u32",
    ...TILE_PARAMS,
  },
});
const totalKernel = defineKernel({
  ...shared,
  name: "matmul_shared.total",
  entry: "total",
  reads: ["parts", "bias"],
  writes: ["y"],
  paramsVariable: "total_params",
  params: {
    count: "u32",
    rows: "u32",
    columns: "u32",
    splits: "u32",
    hasBias: "u32",
    accumulate: "u32",
  },
});

/** `multiply` of matmul.ts in the shared class. */
export function multiplyShared(arrays: MultiplyArrays, sizes: MultiplySizes): void {
  const { left, right, c } = arrays;
  const { precision = "f32" } = sizes;
  const extent = extentOf(c, sizes);
  const tile = c.gpu.choices.choose({
    ...tileChoice(c.gpu, extent, precision),
    key: `matmul_shared ${[...Object.values(extent), precision].join(" ")}`,
    arrays: [left, right, c],
    run: (tile, [left, right, c]) =>
      multiplyTiles(tile, { left, right, bias: null, c }, { ...sizes, accumulate: false }),
  });
  multiplyTiles(tile, arrays, sizes);
}

/** The columns that share a left operand, and how many times there are as many. */
function extentOf(c: GpuArray, sizes: MultiplySizes): Extent {
  const { batch, rows, depth, columns, leftPerBatch } = sizes;
  const mostSplits = mostSplitsOf(c);
  return leftPerBatch
    ? { rows, columns, batch, depth, mostSplits }
    : { rows, columns: batch * columns, batch: 1, depth, mostSplits };
}

function multiplyTiles(tile: SharedTile, arrays: MultiplyArrays, sizes: MultiplySizes): void {
  const { left, right } = arrays;
  const { batch, rows, depth, columns, leftPerBatch = false, precision = "f32" } = sizes;
  const extent = extentOf(arrays.c, sizes);
  const tiling = tilingOf(tile, extent);
  const flops = 2 * batch * rows * columns * depth;
  withParts(
    { y: arrays.c, bias: arrays.bias, rows, columns, accumulate: sizes.accumulate ?? false },
    tiling,
    (c, bias, accumulate) =>
      byTiles(tile, tiling, flops, (params, grid, options) =>
        dispatch(
          kernelOf(tile, precision),
          { left, right, bias: bias ?? left, c }, // without a bias the binding is never read
          {
            rows,
            depth,
            batch,
            columnQuads: columns / 4,
            spanQuads: extent.columns / 4,
            hasBias: bias ? 1 : 0,
            leftPerBatch: leftPerBatch ? 1 : 0,
            accumulate: accumulate ? 1 : 0,
            ...params,
          },
          grid,
          options,
        )),
  );
}

/** Parts of an output that one binding shows at once. */
export function mostSplitsOf(output: GpuArray): number {
  return Math.max(1, Math.floor(output.gpu.maxBindingBytes / Math.max(1, output.byteLength)));
}

/**
 * Lets `run` write whole sums, or parts of them that are then added up in order.
 *
 * @param y Output, [B, rows, columns].
 * @param bias [rows], or null.
 * @param accumulate Whether to add to y.
 * @param run Writes what it is given: y with the bias, added to or not, or [splits, …y] without one.
 */
export function withParts(
  { y, bias, rows, columns, accumulate }: {
    readonly y: GpuArray;
    readonly bias: GpuArray | null;
    readonly rows: number;
    readonly columns: number;
    readonly accumulate: boolean;
  },
  { splits }: Tiling,
  run: (output: GpuArray, bias: GpuArray | null, accumulate: boolean) => void,
): void {
  if (splits === 1) return run(y, bias, accumulate);
  const parts = y.gpu.empty([splits, ...y.shape], "parts of sums");
  run(parts, null, false);
  dispatch(
    totalKernel,
    { parts, bias: bias ?? parts, y }, // without a bias the binding is never read
    {
      count: y.size,
      rows,
      columns,
      splits,
      hasBias: bias ? 1 : 0,
      accumulate: accumulate ? 1 : 0,
    },
    y.size,
  );
  parts.release();
}
