// Images with square patches hidden; the formula is in the WGSL.

import { checkShape } from "./class_map.ts";
import { imageSizes, type Size } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./hide_patches.wgsl" with { type: "text" };

const hide = defineKernel({
  name: "hide_patches",
  file: "kernels/hide_patches.wgsl",
  source,
  entry: "hide",
  reads: ["x", "kept"],
  writes: ["y"],
  params: {
    pixels: "u32",
    channels: "u32",
    height: "u32",
    width: "u32",
    rows: "u32",
    columns: "u32",
    side: "u32",
  },
});

/** How many patches of a side lie below and beside each other in an image, the last ones cut. */
export function patchesOf({ height, width }: Size, side: number): Size {
  return { height: Math.ceil(height / side), width: Math.ceil(width / side) };
}

/**
 * Images whose patches are 0 where they are not kept (MIC, Hoyer et al., 2023, section 3.2).
 *
 * @param x [N, C, H, W].
 * @param kept Not 0 for the patches that stay, [N, ⌈H / side⌉, ⌈W / side⌉].
 * @param side Of a patch, in pixels.
 * @throws {TypeError} If the shapes do not fit.
 */
export function hidePatches(x: GpuArray, kept: GpuArray<"u32">, side: number): GpuArray {
  const { images, channels, height, width } = imageSizes("hide_patches", x);
  const { height: rows, width: columns } = patchesOf({ height, width }, side);
  checkShape("hide_patches", kept, [images, rows, columns]);
  const y = x.gpu.empty(x.shape, "masked images");
  sliceByImage([x, kept], [y], ([x, kept], [y]) => {
    const pixels = (y.shape[0] ?? 0) * height * width;
    const params = { pixels, channels, height, width, rows, columns, side };
    dispatch(hide, { x, kept, y }, params, pixels);
  });
  return y;
}
