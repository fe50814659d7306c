// f64 twins of everything around prototypes: distances, rectification, class sums, centroids.

import type { Nd } from "../_check.ts";

/** ‖f − η_k‖₂ of features [N, C, H, W] and prototypes [K, C], as [N, K, H, W]. */
export function prototypeDistances(features: Nd, prototypes: Nd): Nd {
  const [images, channels, height, width] = features.shape;
  const [classes] = prototypes.shape;
  const plane = height * width;
  const data = new Float64Array(images * classes * plane);
  for (let image = 0; image < images; image++) {
    for (let k = 0; k < classes; k++) {
      for (let p = 0; p < plane; p++) {
        let sum = 0;
        for (let c = 0; c < channels; c++) {
          const f = features.data[(image * channels + c) * plane + p];
          sum += (f - prototypes.data[k * channels + c]) ** 2;
        }
        data[(image * classes + k) * plane + p] = Math.sqrt(sum);
      }
    }
  }
  return { data, shape: [images, classes, height, width] };
}

/**
 * softmax_k(−d / τ) · p of soft labels p and distances d, both [N, K, H, W], divided by its sum over
 * classes; all zero where the soft label is.
 */
export function rectify(softLabels: Nd, distances: Nd, temperature: number): Nd {
  const [images, classes, height, width] = distances.shape;
  const plane = height * width;
  const data = new Float64Array(distances.data.length);
  for (let image = 0; image < images; image++) {
    for (let p = 0; p < plane; p++) {
      const at = (k: number) => (image * classes + k) * plane + p;
      const range = Array.from({ length: classes }, (_, k) => k);
      // The nearest class with a soft label sets the scale, so that the weights never all vanish.
      const supported = range.filter((k) => softLabels.data[at(k)] > 0);
      if (supported.length === 0) continue;
      const nearest = Math.min(...supported.map((k) => distances.data[at(k)]));
      const products = range.map((k) =>
        softLabels.data[at(k)] === 0 ? 0 : softLabels.data[at(k)] *
          Math.exp(-(distances.data[at(k)] - nearest) / temperature)
      );
      const total = products.reduce((sum, product) => sum + product, 0);
      products.forEach((product, k) => data[at(k)] = product / total);
    }
  }
  return { data, shape: distances.shape };
}

/** Σ f over the pixels of each image and class [N, K, C], and their number [N, K]. */
export function classSums(
  features: Nd,
  labels: Uint32Array,
  classes: number,
): { sums: Nd; counts: Nd } {
  const [images, channels, height, width] = features.shape;
  const plane = height * width;
  const sums = new Float64Array(images * classes * channels);
  const counts = new Float64Array(images * classes);
  for (let image = 0; image < images; image++) {
    for (let p = 0; p < plane; p++) {
      const label = labels[image * plane + p];
      if (label >= classes) continue;
      const row = image * classes + label;
      counts[row] = counts[row] + 1;
      for (let c = 0; c < channels; c++) {
        const i = row * channels + c;
        sums[i] = sums[i] +
          features.data[(image * channels + c) * plane + p];
      }
    }
  }
  return {
    sums: { data: sums, shape: [images, classes, channels] },
    counts: { data: counts, shape: [images, classes] },
  };
}

/** η ← decay η + (1 − decay) η', once with the mean over all images, or once for every image. */
export function updatedPrototypes(
  prototypes: Nd,
  sums: Nd,
  counts: Nd,
  { decay, minimumPixels, perImage }: { decay: number; minimumPixels: number; perImage: boolean },
): Nd {
  const [images, classes, channels] = sums.shape;
  const data = prototypes.data.slice();
  for (let k = 0; k < classes; k++) {
    const seen = Array.from({ length: images }, (_, image) => image)
      .filter((image) => counts.data[image * classes + k] >= Math.max(1, minimumPixels));
    for (const group of perImage ? seen.map((image) => [image]) : seen.length ? [seen] : []) {
      const total = group.reduce((n, image) => n + counts.data[image * classes + k], 0);
      for (let c = 0; c < channels; c++) {
        const sum = group.reduce(
          (s, image) => s + sums.data[(image * classes + k) * channels + c],
          0,
        );
        const i = k * channels + c;
        data[i] = decay * data[i] + (1 - decay) * sum / total;
      }
    }
  }
  return { data, shape: prototypes.shape };
}
