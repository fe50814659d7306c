// Naive references of functions over the plane, in doubles.

import type { Nd } from "../_check.ts";

type Four = [number, number, number, number];

/** Height and width in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

function each(shape: Four, value: (n: number, c: number, y: number, x: number) => number): Nd {
  const data: number[] = [];
  for (let n = 0; n < shape[0]; n++) {
    for (let c = 0; c < shape[1]; c++) {
      for (let y = 0; y < shape[2]; y++) {
        for (let x = 0; x < shape[3]; x++) data.push(value(n, c, y, x));
      }
    }
  }
  return { data: Float64Array.from(data), shape };
}

function reader({ data, shape }: Nd): (n: number, c: number, y: number, x: number) => number {
  const [, channels, height, width] = shape as Four;
  return (n, c, y, x) => data[((n * channels + c) * height + y) * width + x];
}

/** Windows along one axis, tried one after the other. */
function windowStarts(
  length: number,
  { kernel, stride, padding, ceilMode }: PoolWindows,
): number[] {
  const starts: number[] = [];
  for (let start = -padding; start < length; start += stride) {
    const fits = start + kernel <= length + padding;
    // The padding before the first pixel is where the first window starts, so it counts as inside.
    const reaches = ceilMode && start - stride + kernel < length + padding;
    if (fits || reaches) starts.push(start);
  }
  return starts;
}

export interface PoolWindows {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly ceilMode: boolean;
}

export function maxPool2d(x: Nd, windows: PoolWindows): Nd {
  const [images, channels, height, width] = x.shape as Four;
  const rows = windowStarts(height, windows);
  const columns = windowStarts(width, windows);
  const at = reader(x);
  return each([images, channels, rows.length, columns.length], (n, c, y, x) => {
    let best = -Infinity;
    for (let dy = 0; dy < windows.kernel; dy++) {
      for (let dx = 0; dx < windows.kernel; dx++) {
        const [row, column] = [(rows[y]) + dy, (columns[x]) + dx];
        if (row >= 0 && row < height && column >= 0 && column < width) {
          best = Math.max(best, at(n, c, row, column));
        }
      }
    }
    return best;
  });
}

export function globalAveragePool(x: Nd): Nd {
  const [images, channels, height, width] = x.shape as Four;
  const plane = height * width;
  const means = Float64Array.from(
    { length: images * channels },
    (_, i) => x.data.subarray(i * plane, (i + 1) * plane).reduce((a, b) => a + b, 0) / plane,
  );
  return { data: means, shape: [images, channels] };
}

export function concatChannels(...parts: Nd[]): Nd {
  const [images, , height, width] = parts[0].shape as Four;
  const channels = parts.flatMap((part) =>
    Array.from({ length: part.shape[1] }, (_, c) => ({ at: reader(part), c }))
  );
  return each([images, channels.length, height, width], (n, k, y, x) => {
    const { at, c } = channels[k];
    return at(n, c, y, x);
  });
}

/** The two pixels around a place between pixels, with their shares. */
function neighbours(o: number, length: number, outputLength: number): [number, number][] {
  const place = outputLength === 1 ? 0 : (o * (length - 1)) / (outputLength - 1);
  const low = Math.floor(place);
  return low === place ? [[low, 1]] : [[low, low + 1 - place], [low + 1, place - low]];
}

export function resizeBilinear(x: Nd, { height, width }: Size): Nd {
  const [images, channels, inputHeight, inputWidth] = x.shape as Four;
  const at = reader(x);
  return each([images, channels, height, width], (n, c, y, x) => {
    let sum = 0;
    for (const [row, rowShare] of neighbours(y, inputHeight, height)) {
      for (const [column, share] of neighbours(x, inputWidth, width)) {
        sum += rowShare * share * at(n, c, row, column);
      }
    }
    return sum;
  });
}

/** The largest logit of every pixel: its class, and its share of the softmax. */
export function argmax(logits: Nd): { labels: number[]; confidence: number[] } {
  const [images, classes, height, width] = logits.shape as Four;
  const at = reader(logits);
  const labels: number[] = [];
  const confidence: number[] = [];
  for (let n = 0; n < images; n++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const values = Array.from({ length: classes }, (_, k) => at(n, k, y, x));
        const largest = Math.max(...values);
        labels.push(values.indexOf(largest));
        confidence.push(1 / values.reduce((sum, v) => sum + Math.exp(v - largest), 0));
      }
    }
  }
  return { labels, confidence };
}
