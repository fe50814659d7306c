// Cells of a coarse map that one wanted class fills; the formula is in the WGSL.

import { checkShape } from "./class_map.ts";
import type { Size } from "./planes.ts";
import { defineKernel, dispatch, formatShape, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./pure_cells.wgsl" with { type: "text" };

const kernel = defineKernel({
  name: "pure_cells",
  file: "kernels/pure_cells.wgsl",
  source,
  entry: "mark",
  reads: ["labels", "wanted"],
  writes: ["cells"],
  params: {
    count: "u32",
    height: "u32",
    width: "u32",
    rows: "u32",
    columns: "u32",
    classes: "u32",
    share: "f32",
  },
});

/**
 * Where one of the wanted classes has at least so large a share of the labels that a cell of a coarser
 * map stands for (DAFormer, equations 8 and 9): 1 there, else 0, [N, h, w].
 *
 * @param labels [N, H, W].
 * @param wanted Not 0 for the classes that are wanted, [K].
 * @param size h and w.
 * @param share Above 0.5 and at most 1.
 * @throws {TypeError} If the labels have another number of axes.
 * @throws {RangeError} If the share is out of range, or the map is finer than the labels.
 */
export function pureCells(
  labels: GpuArray<"u32">,
  wanted: GpuArray<"u32">,
  { height: rows, width: columns }: Size,
  share: number,
): GpuArray<"u32"> {
  if (labels.shape.length !== 3) {
    throw new TypeError(
      `Cannot run pure_cells as it takes [N, H, W]: "${labels.label}" is ${
        formatShape(labels.shape)
      }`,
    );
  }
  const [images, height, width] = labels.shape;
  const [classes = 0] = wanted.shape;
  checkShape("pure_cells", wanted, [classes]);
  if (!(share > 0.5 && share <= 1)) {
    throw new RangeError(
      `Cannot run pure_cells with a share of ${share}: expected more than 0.5 and at most 1`,
    );
  }
  if (rows > height || columns > width) {
    throw new RangeError(
      `Cannot run pure_cells of ${rows}×${columns} cells on ${height}×${width} labels: expected no ` +
        `more cells than labels`,
    );
  }
  const cells = labels.gpu.empty([images, rows, columns], "pure cells", "u32");
  sliceByImage([labels], [cells], ([labels], [cells]) => {
    dispatch(
      kernel,
      { labels, wanted, cells },
      { count: cells.size, height, width, rows, columns, classes, share },
      cells.size,
    );
  });
  return cells;
}
