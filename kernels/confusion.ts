// Counts of pixels by label and prediction; the formula is in the WGSL.

import { checkShape } from "./class_map.ts";
import { IGNORE } from "./ignore_label.ts";
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  sliceByElement,
  wgslConstants,
} from "./runtime/mod.ts";
import source from "./confusion.wgsl" with { type: "text" };

const count = defineKernel({
  name: "confusion",
  file: "kernels/confusion.wgsl",
  source,
  entry: "count",
  reads: ["predictions", "labels"],
  writes: ["counts"],
  params: { pixels: "u32", classes: "u32", ignoreLabel: "u32" },
});
const { RUN } = wgslConstants(count, "RUN");

/**
 * Adds the pixels to a confusion matrix. Pixels whose label or prediction is no class are left out,
 * and so are those of the ignore label.
 *
 * @param predictions Class ids of any shape.
 * @param labels Class ids of the same shape.
 * @param counts [K, K], row = label, column = prediction; added to. Start from `gpu.zeros`.
 * @param ignoreLabel A label to leave out though it may be a class id.
 * @throws {TypeError} If the shapes do not fit.
 */
export function confusion(
  predictions: GpuArray<"u32">,
  labels: GpuArray<"u32">,
  counts: GpuArray<"u32">,
  ignoreLabel = IGNORE,
): void {
  checkShape("confusion", labels, predictions.shape);
  const [classes = 0, columns] = counts.shape;
  if (counts.shape.length !== 2 || columns !== classes) {
    throw new TypeError(
      `Cannot run confusion as the counts must be [K, K]: they are ${formatShape(counts.shape)}`,
    );
  }
  sliceByElement([predictions, labels], [], ([predictions, labels]) => {
    const pixels = labels.size;
    const runs = Math.ceil(pixels / RUN);
    dispatch(count, { predictions, labels, counts }, { pixels, classes, ignoreLabel }, runs);
  });
}
