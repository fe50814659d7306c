// Matrix products by large tiles in registers, and the packing of operands; formulas in the WGSL.

import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  gridFor,
  type Precision,
  type Shape,
  wgslConstants,
} from "../runtime/mod.ts";
import source from "./matmul.wgsl" with { type: "text" };
import type { MultiplyArrays, MultiplySizes } from "./matmul_shape.ts";
import { multiplyShared } from "./matmul_shared.ts";

const shared = { file: "kernels/dense/matmul.wgsl", source } as const;
const { PACK_RUN, TILE_ROWS, TILE_COLUMNS } = wgslConstants(
  shared,
  "PACK_RUN",
  "TILE_ROWS",
  "TILE_COLUMNS",
);
/** Rows and columns that an invocation of {@link multiply} computes. */
export const MULTIPLY_TILE = { rows: TILE_ROWS, columns: TILE_COLUMNS } as const;

const packKernel = defineKernel({
  ...shared,
  name: "matmul.pack",
  entry: "pack",
  reads: ["source"],
  writes: ["packed"],
  paramsVariable: "pack_params",
  params: {
    outer: "u32",
    inner: "u32",
    rows: "u32",
    columns: "u32",
    origin: "i32",
    outerStep: "i32",
    innerStep: "i32",
    rowStep: "i32",
    columnStep: "i32",
  },
});
const products = {
  ...shared,
  entry: "multiply",
  reads: ["left", "right", "bias"],
  writes: ["c"],
  params: {
    batch: "u32",
    rows: "u32",
    depth: "u32",
    columnQuads: "u32",
    hasBias: "u32",
    leftPerBatch: "u32",
  },
} as const;
const multiplyKernel = defineKernel({ ...products, name: "matmul.multiply" });
const multiplyAddKernel = defineKernel({
  ...products,
  name: "matmul.multiply_add",
  constants: { ACCUMULATE: 1 },
});
const trimKernel = defineKernel({
  ...shared,
  name: "matmul.trim",
  entry: "trim",
  reads: ["padded"],
  writes: ["trimmed"],
  paramsVariable: "trim_params",
  params: { rows: "u32", columns: "u32", paddedColumns: "u32" },
});

/** A number of steps along one axis of an array, and the elements between two of them. */
export interface Axis {
  readonly count: number;
  readonly step: number;
}

/** Which elements of an array {@link pack} takes. */
export interface PackAxes {
  /** Slowest axis of the result; `inner`, `rows` and `columns` follow. */
  readonly outer?: Axis;
  readonly inner?: Axis;
  readonly rows: Axis;
  readonly columns: Axis;
  /** Element where every axis starts. */
  readonly origin?: number;
}

/** What {@link pack} returns: [outer, inner, rows, columns rounded up to a multiple of 4]. */
export function packedShape({ outer = ONE, inner = ONE, rows, columns }: PackAxes): Shape {
  return [outer.count, inner.count, rows.count, Math.ceil(columns.count / 4) * 4];
}

/**
 * Gathers a strided array into quads along `columns`, which become the last axis: a transposition,
 * padding with zeros and reversal in one.
 *
 * @returns Of the shape {@link packedShape}.
 */
export function pack(array: GpuArray, axes: PackAxes): GpuArray {
  const { outer = ONE, inner = ONE, rows, columns, origin = 0 } = axes;
  const packed = array.gpu.empty(packedShape(axes), `packed ${array.label}`);
  dispatch(packKernel, { source: array, packed }, {
    outer: outer.count,
    inner: inner.count,
    rows: rows.count,
    columns: columns.count,
    origin,
    outerStep: outer.step,
    innerStep: inner.step,
    rowStep: rows.step,
    columnStep: columns.step,
  }, [
    Math.ceil(rows.count / packKernel.workgroupSize),
    Math.ceil(columns.count / 4 / PACK_RUN),
    outer.count * inner.count,
  ]);
  return packed;
}

const ONE: Axis = { count: 1, step: 0 };

/** c[b] = left right[b] (+ bias by row, + c[b]) with packed operands. */
export function multiply(arrays: MultiplyArrays, sizes: MultiplySizes): void {
  if (arrays.c.gpu.kernelClass === "shared") multiplyShared(arrays, sizes);
  else multiplyDirect(arrays, sizes);
}

function multiplyDirect(
  { left, right, bias, c }: MultiplyArrays,
  { batch, rows, depth, columns, leftPerBatch = false, accumulate = false }: MultiplySizes,
): void {
  const tiles = Math.ceil((batch * columns) / TILE_COLUMNS);
  const [x, y] = gridFor(tiles, multiplyKernel.workgroupSize);
  dispatch(
    accumulate ? multiplyAddKernel : multiplyKernel,
    { left, right, bias: bias ?? left, c }, // without a bias the binding is never read
    {
      batch,
      rows,
      depth,
      columnQuads: columns / 4,
      hasBias: bias ? 1 : 0,
      leftPerBatch: leftPerBatch ? 1 : 0,
    },
    [x, y, Math.ceil(rows / TILE_ROWS)],
    { flops: 2 * batch * rows * columns * depth },
  );
}

/** Which operands {@link matmul} reads with their axes exchanged, and as which numbers. */
export interface MatmulOptions {
  /** `a` is [K, M] (default false). */
  readonly transposeA?: boolean;
  /** `b` is [N, K] (default false). */
  readonly transposeB?: boolean;
  /** The numbers that are multiplied (default `f32`); the direct class has no others. */
  readonly precision?: Precision;
}

/**
 * Matrix product.
 *
 * @param a [M, K].
 * @param b [K, N].
 * @returns [M, N].
 * @throws {TypeError} If an operand is no matrix or the lengths of the sum differ.
 */
export function matmul(a: GpuArray, b: GpuArray, options: MatmulOptions = {}): GpuArray {
  const { transposeA = false, transposeB = false, precision = "f32" } = options;
  const [rows, depth] = sides(a, transposeA);
  const [depthOfB, columns] = sides(b, transposeB);
  if (depth !== depthOfB) {
    throw new TypeError(
      `Cannot run matmul as both operands must sum over the same length: a has ${depth}, b has ${depthOfB}`,
    );
  }
  const output = a.gpu.empty([rows, columns], "matmul");
  if (output.size === 0) return output;
  if (depth === 0) {
    a.gpu.clear(output);
    return output;
  }
  const left = sumFirst(a, transposeA);
  const right = sumFirst(b, !transposeB);
  const paddedColumns = Math.ceil(columns / 4) * 4;
  const c = paddedColumns === columns
    ? output.retain()
    : a.gpu.empty([rows, paddedColumns], "matmul");
  const sizes = { batch: 1, rows, depth, columns: paddedColumns, precision };
  multiply({ left, right, bias: null, c }, sizes);
  if (paddedColumns > columns) {
    const lengths = { rows, columns, paddedColumns };
    dispatch(trimKernel, { padded: c, trimmed: output }, lengths, output.size);
  }
  for (const array of [left, right, c]) array.release();
  return output;
}

function sides(matrix: GpuArray, transposed: boolean): [number, number] {
  const [rows, columns] = matrix.shape;
  if (matrix.shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new TypeError(
      `Cannot run matmul as it takes matrices: "${matrix.label}" is ${formatShape(matrix.shape)}`,
    );
  }
  return transposed ? [columns, rows] : [rows, columns];
}

/** The operand as [K, the other axis up to a multiple of 4]; the array itself where it is that. */
function sumFirst(matrix: GpuArray, isSumFirst: boolean): GpuArray {
  const [rows, columns] = matrix.shape as [number, number];
  if (isSumFirst && columns % 4 === 0) return matrix.retain();
  const first = { count: rows, step: columns };
  const second = { count: columns, step: 1 };
  return isSumFirst
    ? pack(matrix, { rows: first, columns: second })
    : pack(matrix, { rows: second, columns: first });
}
