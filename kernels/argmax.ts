// The most probable class of every pixel; the formulas are in the WGSL.

import { checkSize, imageSizes, type Size } from "./planes.ts";
import { step } from "./resize.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./argmax.wgsl" with { type: "text" };

const shared = {
  file: "kernels/argmax.wgsl",
  source,
  entry: "forward",
  reads: ["logits"],
  writes: ["labels", "confidence"],
  params: {
    pixels: "u32",
    classes: "u32",
    height: "u32",
    width: "u32",
    outputHeight: "u32",
    outputWidth: "u32",
    scaleY: "f32",
    scaleX: "f32",
  },
} as const;
const plain = defineKernel({ ...shared, name: "argmax" });
const resized = defineKernel({ ...shared, name: "argmax.resized", constants: { RESIZED: 1 } });

/** The class of every pixel and how sure it is. */
export interface Prediction {
  /** The class of the largest logit, the first of equal ones, [N, H, W]. */
  readonly labels: GpuArray<"u32">;
  /** Its softmax probability, [N, H, W]; NaN if one of the pixel's logits is. */
  readonly confidence: GpuArray;
}

/**
 * The most probable class of every pixel.
 *
 * @param logits [N, K, H, W], K at least 1.
 * @throws {TypeError} If the logits have another number of axes.
 * @throws {RangeError} If there are no classes.
 */
export function argmax(logits: GpuArray): Prediction {
  return run(plain, logits, imageSizes("argmax", logits));
}

/**
 * The most probable class of every pixel of the logits resized to `size` (bilinear, corners
 * aligned), without storing the resized logits.
 *
 * @param logits [N, K, h, w], K at least 1, not empty.
 * @returns Labels and confidence, [N, height, width].
 * @throws {TypeError} If the logits have another number of axes.
 * @throws {RangeError} If there are no classes, or a side is empty.
 */
export function argmaxResized(logits: GpuArray, size: Size): Prediction {
  checkSize("argmax.resized from these logits", imageSizes("argmax.resized", logits));
  checkSize("argmax.resized", size);
  return run(resized, logits, size);
}

function run(kernel: typeof plain, logits: GpuArray, size: Size): Prediction {
  const { gpu } = logits;
  const { images, channels: classes, height, width } = imageSizes(kernel.name, logits);
  if (classes === 0) throw new RangeError("Cannot run argmax as the logits have no classes");
  const shape = [images, size.height, size.width];
  const labels = gpu.empty(shape, "predicted labels", "u32");
  const confidence = gpu.empty(shape, "confidence");
  sliceByImage([logits], [labels, confidence], ([logits], [labels, confidence]) => {
    dispatch(kernel, { logits, labels, confidence }, {
      pixels: labels.size,
      classes,
      height,
      width,
      outputHeight: size.height,
      outputWidth: size.width,
      scaleY: step(height, size.height),
      scaleX: step(width, size.width),
    }, labels.size);
  });
  return { labels, confidence };
}
