// Rectified soft labels and denoised hard labels; the formula is in the WGSL.

import { checkShape, mapSizes } from "./class_map.ts";
import { defineKernel, dispatch, type GpuArray, sliceByImage } from "./runtime/mod.ts";
import source from "./rectification.wgsl" with { type: "text" };

const shared = {
  file: "kernels/rectification.wgsl",
  source,
  reads: ["softLabels", "distances"],
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
  writes: ["labels", "confidence"],
});
const rectify = defineKernel({
  ...shared,
  name: "rectification.rectify",
  entry: "rectify",
  writes: ["rectified"],
});

/** Options of {@link denoiseLabels}. */
export interface DenoiseOptions {
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
 * @param distances [N, K, H, W].
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the temperature is not positive.
 */
export function denoiseLabels(
  softLabels: GpuArray,
  distances: GpuArray,
  options: DenoiseOptions,
): DenoisedLabels {
  const { images, classes, height, width, plane } = sizesOf(
    softLabels,
    distances,
    options.temperature,
  );
  const { gpu } = distances;
  const labels = gpu.empty([images, height, width], "denoised labels", "u32");
  const confidence = gpu.empty([images, height, width], "confidence of denoised labels");
  sliceByImage(
    [softLabels, distances],
    [labels, confidence],
    ([softLabels, distances], [labels, confidence]) =>
      dispatch(
        denoise,
        { softLabels, distances, labels, confidence },
        { pixels: labels.size, classes, plane, ...options },
        labels.size,
      ),
  );
  return { labels, confidence };
}

/**
 * Rectified soft labels ω_k p_k / Σ_j ω_j p_j, [N, K, H, W]; all zero where the soft label is.
 *
 * @param softLabels [N, K, H, W], not negative.
 * @param distances [N, K, H, W].
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the temperature is not positive.
 */
export function rectifySoftLabels(
  softLabels: GpuArray,
  distances: GpuArray,
  temperature: number,
): GpuArray {
  const { classes, plane } = sizesOf(softLabels, distances, temperature);
  const rectified = distances.gpu.empty(distances.shape, "rectified soft labels");
  sliceByImage(
    [softLabels, distances],
    [rectified],
    ([softLabels, distances], [rectified]) => {
      const pixels = rectified.shape[0] * plane;
      dispatch(
        rectify,
        { softLabels, distances, rectified },
        { pixels, classes, plane, temperature, ignoreLabel: 0, threshold: 0 },
        pixels,
      );
    },
  );
  return rectified;
}

function sizesOf(softLabels: GpuArray, distances: GpuArray, temperature: number) {
  if (!(temperature > 0)) {
    throw new RangeError(
      `Cannot rectify labels as the temperature must be positive: it is ${temperature}`,
    );
  }
  checkShape("rectification", softLabels, distances.shape);
  return mapSizes("rectification", distances);
}
