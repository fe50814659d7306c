// Rectified soft labels and denoised hard labels; the formula is in the WGSL.

import { checkShape, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./rectification.wgsl" with { type: "text" };

const shared = {
  file: "kernels/rectification.wgsl",
  source,
  params: {
    pixels: "u32",
    classes: "u32",
    plane: "u32",
    ignoreLabel: "u32",
    temperature: "f32",
    threshold: "f32",
  },
} as const;
const denoise = defineKernel({
  ...shared,
  name: "rectification.denoise",
  entry: "denoise",
  reads: ["softLabels", "distances"],
  writes: ["labels", "confidence"],
});
const rectify = defineKernel({
  ...shared,
  name: "rectification.rectify",
  entry: "rectify",
  reads: ["softLabels", "distances"],
  writes: ["rectified"],
});
const masking = defineKernel({
  ...shared,
  name: "rectification.where_labelled",
  entry: "where_labelled",
  reads: ["softLabels", "probabilities"],
  writes: ["masked"],
});

const idsMasking = defineKernel({
  ...shared,
  name: "rectification.ids_where_labelled",
  entry: "ids_where_labelled",
  reads: ["softLabels", "ids"],
  writes: ["labels"],
});

/** So high a temperature that no cost of a class counts, as is every number that it divides. */
const EQUAL_WEIGHTS = 2 ** 120;

/** Options of {@link denoiseLabels}. */
export interface RectificationOptions {
  /** τ of equation 3. */
  readonly temperature: number;
  /** Pixels whose largest rectified probability is below this get `ignoreLabel`. */
  readonly threshold: number;
  /** Label of pixels that have none. */
  readonly ignoreLabel: number;
}

/** Hard labels of pixels and how sure they are. */
export interface DenoisedLabels {
  /** The class, or the ignore label, [N, H, W]. */
  readonly labels: GpuArray<"u32">;
  /** The largest rectified probability, [N, H, W]; 0 where the pixel has no soft label. */
  readonly confidence: GpuArray;
}

/**
 * Denoised hard labels argmax_k(ω_k p_k), ω = softmax(−d / τ) (equations 2 and 3).
 *
 * @param softLabels [N, K, H, W]; all zero outside the view, and not negative.
 * @param distances [N, K, H, W]; null where all classes weigh the same.
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the temperature is not positive.
 */
export function denoiseLabels(
  softLabels: GpuArray,
  distances: GpuArray | null,
  options: RectificationOptions,
): DenoisedLabels {
  const { costs, temperature } = costsOf(softLabels, distances, options.temperature);
  const { images, classes, height, width, plane } = mapSizes("rectification", softLabels);
  const { gpu } = softLabels;
  const labels = gpu.empty([images, height, width], "denoised labels", "u32");
  const confidence = gpu.empty([images, height, width], "confidence of denoised labels");
  sliceByImage(
    [softLabels, costs],
    [labels, confidence],
    ([softLabels, distances], [labels, confidence]) =>
      dispatch(
        denoise,
        { softLabels, distances, labels, confidence },
        { pixels: labels.size, classes, plane, ...options, temperature },
        labels.size,
      ),
  );
  return { labels, confidence };
}

/**
 * Rectified soft labels ω_k p_k / Σ_j ω_j p_j, [N, K, H, W]; all zero where the soft label is.
 *
 * @param softLabels [N, K, H, W], not negative.
 * @param distances [N, K, H, W]; null where all classes weigh the same.
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the temperature is not positive.
 */
export function rectifySoftLabels(
  softLabels: GpuArray,
  distances: GpuArray | null,
  temperature: number,
): GpuArray {
  const costs = costsOf(softLabels, distances, temperature);
  const { classes, plane } = mapSizes("rectification", softLabels);
  const rectified = softLabels.gpu.empty(softLabels.shape, "rectified soft labels");
  sliceByImage(
    [softLabels, costs.costs],
    [rectified],
    ([softLabels, distances], [rectified]) => {
      const pixels = rectified.shape[0] * plane;
      dispatch(
        rectify,
        { softLabels, distances, rectified },
        { pixels, classes, plane, temperature: costs.temperature, ignoreLabel: 0, threshold: 0 },
        pixels,
      );
    },
  );
  return rectified;
}

/**
 * Probabilities where there is a soft label, and 0 where there is none, [N, K, H, W].
 *
 * @param probabilities [N, K, H, W].
 * @param softLabels [N, K, H, W], each summing to 1 over classes, or all zero.
 * @throws {TypeError} If the shapes do not fit.
 */
export function whereLabelled(probabilities: GpuArray, softLabels: GpuArray): GpuArray {
  checkShape("rectification", softLabels, probabilities.shape);
  const { classes, plane } = mapSizes("rectification", probabilities);
  const masked = probabilities.gpu.empty(probabilities.shape, probabilities.label);
  sliceByImage(
    [softLabels, probabilities],
    [masked],
    ([softLabels, probabilities], [masked]) => {
      const pixels = masked.shape[0] * plane;
      dispatch(
        masking,
        { softLabels, probabilities, masked },
        { pixels, classes, plane, temperature: 1, ignoreLabel: 0, threshold: 0 },
        pixels,
      );
    },
  );
  return masked;
}

/**
 * Class ids where there is a soft label, and the ignore label where there is none, [N, H, W].
 *
 * @param ids [N, H, W].
 * @param softLabels [N, K, H, W], each summing to 1 over classes, or all zero.
 * @throws {TypeError} If the shapes do not fit.
 */
export function idsWhereLabelled(
  ids: GpuArray<"u32">,
  softLabels: GpuArray,
  ignoreLabel: number,
): GpuArray<"u32"> {
  const { images, classes, height, width, plane } = mapSizes("rectification", softLabels);
  checkShape("rectification", ids, [images, height, width]);
  const labels = ids.gpu.empty(ids.shape, ids.label, "u32");
  sliceByImage([softLabels, ids], [labels], ([softLabels, ids], [labels]) =>
    dispatch(
      idsMasking,
      { softLabels, ids, labels },
      { pixels: labels.size, classes, plane, ignoreLabel, temperature: 1, threshold: 0 },
      labels.size,
    ));
  return labels;
}

/** What weighs the classes: distances, or where there are none, anything at an endless temperature. */
function costsOf(softLabels: GpuArray, distances: GpuArray | null, temperature: number) {
  if (!(temperature > 0)) {
    throw new RangeError(
      `Cannot rectify labels as the temperature must be positive: it is ${temperature}`,
    );
  }
  if (!distances) return { costs: softLabels, temperature: EQUAL_WEIGHTS };
  checkShape("rectification", softLabels, distances.shape);
  return { costs: distances, temperature };
}
