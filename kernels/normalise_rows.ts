// Rows of length 1; the formulas are in the WGSL.

import { checkShape } from "./class_map.ts";
import { defineKernel, dispatch, formatShape, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./normalise_rows.wgsl" with { type: "text" };

/** Rows shorter than this are divided by it, as in PyTorch. */
const LEAST = 1e-12;

const shared = {
  file: "kernels/normalise_rows.wgsl",
  source,
  params: { rows: "u32", columns: "u32", least: "f32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "normalise_rows.forward",
  entry: "forward",
  reads: ["x"],
  writes: ["y"],
});
const backward = defineKernel({
  ...shared,
  name: "normalise_rows.backward",
  entry: "backward",
  reads: ["x", "gradY"],
  writes: ["gradX"],
});

/**
 * Every row divided by its Euclidean length; a row of zeros stays.
 *
 * @param x [N, C].
 * @throws {TypeError} If `x` is no matrix.
 */
export function normaliseRowsForward(x: GpuArray): GpuArray {
  const columns = columnsOf(x);
  const output = x.gpu.empty(x.shape, "rows of length 1");
  sliceByImage([x], [output], ([x], [y]) => {
    const [rows] = y.shape;
    dispatch(forward, { x, y }, { rows, columns, least: LEAST }, rows);
  });
  return output;
}

/** Gradient of {@link normaliseRowsForward} from its input. */
export function normaliseRowsBackward(gradOutput: GpuArray, x: GpuArray): GpuArray {
  const columns = columnsOf(x);
  checkShape("normalise_rows", gradOutput, x.shape);
  const gradInput = x.gpu.empty(x.shape, "gradient of rows");
  sliceByImage([gradOutput, x], [gradInput], ([gradY, x], [gradX]) => {
    const [rows] = gradX.shape;
    const params = { rows, columns, least: LEAST };
    dispatch(backward, { x, gradY, gradX }, params, rows);
  });
  return gradInput;
}

function columnsOf({ shape, label }: GpuArray): number {
  const [, columns] = shape;
  if (shape.length !== 2 || columns === undefined) {
    throw new TypeError(
      `Cannot run normalise_rows as it takes a matrix: "${label}" is ${formatShape(shape)}`,
    );
  }
  return columns;
}
