// Class mix: source pixels of chosen classes pasted onto target images; the formula is in the WGSL.

import { checkPixels, checkShape, mapSizes } from "./class_map.ts";
import { IGNORE } from "./ignore_label.ts";
import { labelSizes } from "./planes.ts";
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  sliceByImage,
  wgslConstants,
} from "./runtime/mod.ts";
import source from "./class_mix.wgsl" with { type: "text" };

const shared = {
  file: "kernels/class_mix.wgsl",
  source,
  params: {
    pixels: "u32",
    plane: "u32",
    channels: "u32",
    classes: "u32",
    ignoreLabel: "u32",
    value: "f32",
  },
} as const;
const choose = defineKernel({
  ...shared,
  name: "class_mix.choose",
  entry: "choose",
  reads: ["labels", "keys"],
  writes: ["chosen"],
});
const mix = defineKernel({
  ...shared,
  name: "class_mix.mix_images",
  entry: "mix_images",
  reads: ["source", "targetImage", "labels", "chosen"],
  writes: ["mixed", "pasted"],
});
const ids = defineKernel({
  ...shared,
  name: "class_mix.paste_labels",
  entry: "paste_labels",
  reads: ["pasted", "xIds"],
  writes: ["yIds"],
});
const probabilities = defineKernel({
  ...shared,
  name: "class_mix.paste_probabilities",
  entry: "paste_probabilities",
  reads: ["pasted", "x"],
  writes: ["y"],
});
const values = defineKernel({
  ...shared,
  name: "class_mix.paste_value",
  entry: "paste_value",
  reads: ["pasted", "x"],
  writes: ["y"],
});
const { MOST_CLASSES } = wgslConstants(choose, "MOST_CLASSES");

/**
 * Chooses half of the classes that a label map has, ⌈n/2⌉ of n (ClassMix, Olsson et al., 2021): those
 * with the least keys, so that keys drawn evenly choose evenly.
 *
 * @param labels [N, H, W]; what is from K up or `ignoreLabel` is no class.
 * @param keys [N, K].
 * @returns 1 for the classes that are chosen, else 0, [N, K].
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If there are more than 256 classes.
 */
export function chooseClasses(
  labels: GpuArray<"u32">,
  keys: GpuArray<"u32">,
  ignoreLabel = IGNORE,
): GpuArray<"u32"> {
  const { images, height, width } = labelSizes("class_mix.choose", labels);
  const [, classes = 0] = keys.shape;
  checkShape("class_mix.choose", keys, [images, classes]);
  if (classes > MOST_CLASSES) {
    throw new RangeError(
      `Cannot run class_mix.choose as there are ${classes} classes: expected ${MOST_CLASSES} at most`,
    );
  }
  const plane = height * width;
  const chosen = labels.gpu.empty(keys.shape, "chosen classes", "u32");
  sliceByImage([labels, keys], [chosen], ([labels, keys], [chosen]) => {
    const [images = 0] = chosen.shape;
    const pixels = images * plane;
    const params = { pixels, plane, channels: 0, classes, ignoreLabel, value: 0 };
    dispatch(choose, { labels, keys, chosen }, params, [images]);
  });
  return chosen;
}

/** Images with pixels of others. */
export interface MixedImages {
  /** [N, C, H, W]. */
  readonly mixed: GpuArray;
  /** The labels of what was pasted, [N, H, W]; the ignore label where nothing was. */
  readonly pasted: GpuArray<"u32">;
}

/**
 * Pastes the pixels of chosen classes onto other images: M source + (1 − M) target, where M is 1 if the
 * label is a chosen class (DACS, Tranheden et al., 2021).
 *
 * @param from.images Source images, [N, C, H, W].
 * @param from.labels Their labels, [N, H, W].
 * @param target [N, C, H, W].
 * @param chosen 1 for the classes that are pasted, else 0, [N, K].
 * @throws {TypeError} If the shapes do not fit.
 */
export function mixImages(
  from: { readonly images: GpuArray; readonly labels: GpuArray<"u32"> },
  target: GpuArray,
  chosen: GpuArray<"u32">,
  ignoreLabel = IGNORE,
): MixedImages {
  const { images, classes: channels, plane } = mapSizes("class_mix.mix_images", target);
  checkShape("class_mix.mix_images", from.images, target.shape);
  checkPixels("class_mix.mix_images", target, from.labels);
  const [rows, classes = 0] = chosen.shape;
  if (rows !== images || chosen.shape.length !== 2) {
    throw new TypeError(
      `Cannot run class_mix.mix_images as the chosen classes must be [${images}, K]: they are ${
        formatShape(chosen.shape)
      }`,
    );
  }
  const mixed = target.gpu.empty(target.shape, "mixed images");
  const pasted = target.gpu.empty(from.labels.shape, "pasted labels", "u32");
  sliceByImage(
    [from.images, target, from.labels, chosen],
    [mixed, pasted],
    ([source, targetImage, labels, chosen], [mixed, pasted]) =>
      dispatch(
        mix,
        { source, targetImage, labels, chosen, mixed, pasted },
        { pixels: pasted.size, plane, channels, classes, ignoreLabel, value: 0 },
        pasted.size,
      ),
  );
  return { mixed, pasted };
}

/**
 * Labels, but those of what was pasted where something was, [N, H, W].
 *
 * @param pasted [N, H, W]; the ignore label where nothing was pasted.
 * @param labels [N, H, W].
 * @throws {TypeError} If the shapes do not fit.
 */
export function pasteLabels(
  pasted: GpuArray<"u32">,
  labels: GpuArray<"u32">,
  ignoreLabel = IGNORE,
): GpuArray<"u32"> {
  checkShape("class_mix.paste_labels", pasted, labels.shape);
  const y = labels.gpu.empty(labels.shape, labels.label, "u32");
  sliceByImage([pasted, labels], [y], ([pasted, xIds], [yIds]) =>
    dispatch(
      ids,
      { pasted, xIds, yIds },
      { pixels: yIds.size, plane: yIds.size, channels: 0, classes: 0, ignoreLabel, value: 0 },
      yIds.size,
    ));
  return y;
}

/**
 * Probabilities, but the one-hot of its label where something was pasted, [N, K, H, W].
 *
 * @param pasted [N, H, W]; the ignore label where nothing was pasted.
 * @param x [N, K, H, W].
 * @throws {TypeError} If the shapes do not fit.
 */
export function pasteProbabilities(
  pasted: GpuArray<"u32">,
  x: GpuArray,
  ignoreLabel = IGNORE,
): GpuArray {
  const { classes, plane } = mapSizes("class_mix.paste_probabilities", x);
  checkPixels("class_mix.paste_probabilities", x, pasted);
  const y = x.gpu.empty(x.shape, x.label);
  sliceByImage([pasted, x], [y], ([pasted, x], [y]) =>
    dispatch(
      probabilities,
      { pasted, x, y },
      { pixels: pasted.size, plane, channels: 0, classes, ignoreLabel, value: 0 },
      pasted.size,
    ));
  return y;
}

/**
 * Numbers of pixels, but one value where something was pasted, [N, H, W].
 *
 * @param pasted [N, H, W]; the ignore label where nothing was pasted.
 * @param x [N, H, W].
 * @throws {TypeError} If the shapes do not fit.
 */
export function pasteValue(
  pasted: GpuArray<"u32">,
  x: GpuArray,
  value: number,
  ignoreLabel = IGNORE,
): GpuArray {
  checkShape("class_mix.paste_value", pasted, x.shape);
  const y = x.gpu.empty(x.shape, x.label);
  sliceByImage([pasted, x], [y], ([pasted, x], [y]) =>
    dispatch(
      values,
      { pasted, x, y },
      { pixels: y.size, plane: y.size, channels: 0, classes: 0, ignoreLabel, value },
      y.size,
    ));
  return y;
}
