// Bilinear samples of feature maps at given places; the formulas are in the WGSL.

import { checkShape } from "./class_map.ts";
import { imageSizes } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./sample_planes.wgsl" with { type: "text" };

const shared = {
  file: "kernels/sample_planes.wgsl",
  source,
  params: { images: "u32", channels: "u32", height: "u32", width: "u32", count: "u32" },
} as const;
const forward = defineKernel({
  ...shared,
  name: "sample_planes.forward",
  entry: "forward",
  reads: ["x", "places"],
  writes: ["samples"],
});
const backward = defineKernel({
  ...shared,
  name: "sample_planes.backward",
  entry: "backward",
  reads: ["places", "gradSamples"],
  writes: ["gradX"],
});

/**
 * Bilinear samples of every channel at places of each image.
 *
 * @param x [N, C, H, W].
 * @param places [N, P, 2]: column and row, counted from the centre of the first pixel; one outside
 *   the map gives what is nearest to it.
 * @returns [N, P, C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function samplePlanesForward(x: GpuArray, places: GpuArray): GpuArray {
  const { images, channels, height, width } = imageSizes("sample_planes", x);
  const [, count = 0] = places.shape;
  checkShape("sample_planes", places, [images, count, 2]);
  const output = x.gpu.empty([images, count, channels], "samples");
  sliceByImage([x, places], [output], ([x, places], [samples]) => {
    const images = samples.shape[0];
    const params = { images, channels, height, width, count };
    dispatch(forward, { x, places, samples }, params, samples.size);
  });
  return output;
}

/** Gradient of {@link samplePlanesForward} to its input, [N, C, H, W]. */
export function samplePlanesBackward(
  gradOutput: GpuArray,
  places: GpuArray,
  size: { readonly height: number; readonly width: number },
): GpuArray {
  const [images = 0, count = 0, channels = 0] = gradOutput.shape;
  const { height, width } = size;
  const shape = [images, channels, height, width];
  const gradInput = gradOutput.gpu.empty(shape, "gradient of samples");
  sliceByImage([gradOutput, places], [gradInput], ([gradSamples, places], [gradX]) => {
    const images = gradX.shape[0];
    const params = { images, channels, height, width, count };
    dispatch(backward, { places, gradSamples, gradX }, params, images * channels);
  });
  return gradInput;
}
