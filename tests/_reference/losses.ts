// f64 twins of the softmax and of every loss: the formulas as written, one pixel at a time.

import type { Nd } from "../_check.ts";

/** Visits every pixel of logits [N, K, H, W] with the indices of its K elements. */
function forEachPixel(
  { data, shape }: Nd,
  visit: (values: number[], indices: number[], pixel: number) => void,
): void {
  const [images, classes, height, width] = shape;
  const plane = height * width;
  for (let image = 0; image < images; image++) {
    for (let p = 0; p < plane; p++) {
      const indices = Array.from({ length: classes }, (_, k) => (image * classes + k) * plane + p);
      visit(indices.map((i) => data[i]), indices, image * plane + p);
    }
  }
}

function softmaxOf(values: number[]): number[] {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

function logSoftmaxOf(values: number[]): number[] {
  const largest = Math.max(...values);
  const total = values.reduce((sum, value) => sum + Math.exp(value - largest), 0);
  return values.map((value) => value - largest - Math.log(total));
}

function mapPixels(x: Nd, map: (values: number[]) => number[]): Nd {
  const data = new Float64Array(x.data.length);
  forEachPixel(x, (values, indices) => {
    map(values).forEach((value, k) => data[indices[k]] = value);
  });
  return { data, shape: x.shape };
}

/** softmax(scale x) over channels. */
export function softmax(x: Nd, scale = 1): Nd {
  return mapPixels(x, (values) => softmaxOf(values.map((value) => scale * value)));
}

/** log softmax(scale x) over channels. */
export function logSoftmax(x: Nd, scale = 1): Nd {
  return mapPixels(x, (values) => logSoftmaxOf(values.map((value) => scale * value)));
}

/** Mean over the pixels for which `loss` returns a number, 0 where there is none. */
function pixelMean(
  logits: Nd,
  loss: (values: number[], pixel: number, indices: number[]) => number | undefined,
): Nd {
  let sum = 0;
  let count = 0;
  forEachPixel(logits, (values, indices, pixel) => {
    const term = loss(values, pixel, indices);
    if (term === undefined) return;
    sum += term;
    count++;
  });
  return { data: Float64Array.of(count === 0 ? 0 : sum / count), shape: [] };
}

/** What the loss of a pixel is multiplied by. */
type PixelWeights = ArrayLike<number> | null;

/** −log p of the label. */
export function crossEntropy(
  logits: Nd,
  labels: Uint32Array,
  ignoreLabel = 255,
  weights: PixelWeights = null,
): Nd {
  return symmetricCrossEntropy(logits, labels, 1, 0, ignoreLabel, weights);
}

/** α CE(p, y) + β CE(y, p) with p ≥ 1e-7 in the second and the one-hot ≥ 1e-4. */
export function symmetricCrossEntropy(
  logits: Nd,
  labels: Uint32Array,
  alpha: number,
  beta: number,
  ignoreLabel = 255,
  weights: PixelWeights = null,
): Nd {
  return pixelMean(logits, (values, pixel) => {
    const label = labels[pixel];
    if (label === ignoreLabel) return undefined;
    const reverse = softmaxOf(values).reduce((sum, p, k) => {
      const oneHot = Math.min(Math.max(k === label ? 1 : 0, 1e-4), 1);
      return sum - Math.max(p, 1e-7) * Math.log(oneHot);
    }, 0);
    return (weights?.[pixel] ?? 1) * (-alpha * logSoftmaxOf(values)[label] + beta * reverse);
  });
}

/** α CE(p, y) + β CE(y, p) with soft labels y, p ≥ 1e-7 and y ≥ 1e-4 in the second. */
export function softCrossEntropy(
  logits: Nd,
  softLabels: Nd,
  labels: Uint32Array,
  alpha: number,
  beta: number,
  weights: PixelWeights = null,
): Nd {
  return pixelMean(logits, (values, pixel, indices) => {
    if (labels[pixel] === 255) return undefined;
    const y = indices.map((i) => softLabels.data[i]);
    const forward = logSoftmaxOf(values).reduce((sum, log, k) => sum - y[k] * log, 0);
    const reverse = softmaxOf(values).reduce(
      (sum, p, k) => sum - Math.max(p, 1e-7) * Math.log(Math.max(y[k], 1e-4)),
      0,
    );
    return (weights?.[pixel] ?? 1) * (alpha * forward + beta * reverse);
  });
}

/** KL(target ‖ softmax(scale logits)) over the pixels of the mask, or with q instead of log q. */
export function klDivergence(
  logits: Nd,
  target: Nd,
  mask: ArrayLike<number> | null,
  { scale = 1, divideByClasses = false, softmaxAsLog = false } = {},
): Nd {
  const mean = pixelMean(logits, (values, pixel, indices) => {
    if (mask && mask[pixel] === 0) return undefined;
    const logs = logSoftmaxOf(values.map((value) => scale * value));
    return logs.reduce((sum, log, k) => {
      const t = target.data[indices[k]];
      return t > 0 ? sum + t * (Math.log(t) - (softmaxAsLog ? Math.exp(log) : log)) : sum;
    }, 0);
  });
  const divisor = divideByClasses ? logits.shape[1] : 1;
  return { data: mean.data.map((value) => value / divisor), shape: [] };
}

/** √ Σ_c (features_c − anchors_c)² over the pixels of the mask. */
export function featureDistance(features: Nd, anchors: Nd, mask: ArrayLike<number>): Nd {
  return pixelMean(
    features,
    (values, pixel, indices) =>
      mask[pixel] === 0
        ? undefined
        : Math.hypot(...values.map((value, c) => value - anchors.data[indices[c]])),
  );
}

/**
 * Where the share of a wanted class in the labels of a cell, pooled as adaptive average pooling does,
 * is at least `share`.
 */
export function pureCells(
  labels: Nd,
  wanted: readonly number[],
  [rows, columns]: readonly [number, number],
  share: number,
): Nd {
  const [images, height, width] = labels.shape;
  const data = new Float64Array(images * rows * columns);
  for (let cell = 0; cell < data.length; cell++) {
    const [image, y, x] = [
      Math.floor(cell / (rows * columns)),
      Math.floor(cell / columns) % rows,
      cell % columns,
    ];
    const found: number[] = [];
    for (let i = Math.floor(y * height / rows); i < Math.ceil((y + 1) * height / rows); i++) {
      for (let j = Math.floor(x * width / columns); j < Math.ceil((x + 1) * width / columns); j++) {
        found.push(labels.data[(image * height + i) * width + j]);
      }
    }
    const isPure = wanted.some((class_) =>
      found.filter((label) => label === class_).length / found.length >= share
    );
    data[cell] = Number(isPure);
  }
  return { data, shape: [images, rows, columns] };
}

/** −Σ_k log p_k. */
export function uniformPrior(logits: Nd, divideByClasses = false): Nd {
  const divisor = divideByClasses ? logits.shape[1] : 1;
  return pixelMean(
    logits,
    (values) => -logSoftmaxOf(values).reduce((sum, log) => sum + log, 0) / divisor,
  );
}

/** Mean of (x − target)². */
export function leastSquares({ data }: Nd, target: number): Nd {
  const sum = data.reduce((total, x) => total + (x - target) ** 2, 0);
  return { data: Float64Array.of(sum / data.length), shape: [] };
}

/** Mean of −target log σ(x) − (1 − target) log(1 − σ(x)). */
export function bceWithLogits({ data }: Nd, target: number): Nd {
  const sum = data.reduce(
    (total, x) => total + Math.max(x, 0) - x * target + Math.log1p(Math.exp(-Math.abs(x))),
    0,
  );
  return { data: Float64Array.of(sum / data.length), shape: [] };
}
