// 2-D convolution, linear maps and matrix products in f64, by their definitions.

import type { Nd } from "../_check.ts";

/** Step, zero border and tap distance of a convolution, in pixels. */
export interface Geometry {
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
}

/** y[n,o,i,j] = bias[o] + Σ_{c,u,v} weight[o,c,u,v] x[n, c, i stride − padding + u dilation, …]. */
export function conv2d(
  x: Nd,
  weight: Nd,
  bias: Nd | null,
  { stride = 1, padding = 0, dilation = 1 }: Geometry = {},
): Nd {
  const [images, channels, height, width] = x.shape as [number, number, number, number];
  const [outputs, , rows, columns] = weight.shape as [number, number, number, number];
  const outHeight = Math.floor((height + 2 * padding - dilation * (rows - 1) - 1) / stride) + 1;
  const outWidth = Math.floor((width + 2 * padding - dilation * (columns - 1) - 1) / stride) + 1;
  const data = new Float64Array(images * outputs * outHeight * outWidth);
  let at = 0;
  for (let n = 0; n < images; n++) {
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < outHeight; i++) {
        for (let j = 0; j < outWidth; j++) {
          let sum = bias ? bias.data[o]! : 0;
          for (let c = 0; c < channels; c++) {
            for (let u = 0; u < rows; u++) {
              const y = i * stride - padding + u * dilation;
              if (y < 0 || y >= height) continue;
              for (let v = 0; v < columns; v++) {
                const z = j * stride - padding + v * dilation;
                if (z < 0 || z >= width) continue;
                sum += weight.data[((o * channels + c) * rows + u) * columns + v]! *
                  x.data[((n * channels + c) * height + y) * width + z]!;
              }
            }
          }
          data[at++] = sum;
        }
      }
    }
  }
  return { data, shape: [images, outputs, outHeight, outWidth] };
}

/** y[n,o] = bias[o] + Σ_i weight[o,i] x[n,i]. */
export function linear(x: Nd, weight: Nd, bias: Nd | null): Nd {
  const [rows, inputs] = x.shape as [number, number];
  const [outputs] = weight.shape as [number];
  const data = Float64Array.from({ length: rows * outputs }, (_, at) => {
    const [n, o] = [Math.floor(at / outputs), at % outputs];
    let sum = bias ? bias.data[o]! : 0;
    for (let i = 0; i < inputs; i++) sum += weight.data[o * inputs + i]! * x.data[n * inputs + i]!;
    return sum;
  });
  return { data, shape: [rows, outputs] };
}

/** c[m,n] = Σ_k a[m,k] b[k,n]. */
export function matmul(a: Nd, b: Nd): Nd {
  const [rows, depth] = a.shape as [number, number];
  const columns = b.shape[1]!;
  const data = Float64Array.from({ length: rows * columns }, (_, at) => {
    const [m, n] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += a.data[m * depth + k]! * b.data[k * columns + n]!;
    return sum;
  });
  return { data, shape: [rows, columns] };
}

/** Gradients of {@link conv2d} to its weight, of this shape, and its bias. */
export function conv2dParameterGradients(
  gradOutput: Nd,
  x: Nd,
  weightShape: readonly [number, number, number, number],
  { stride = 1, padding = 0, dilation = 1 }: Geometry = {},
): { readonly weight: Nd; readonly bias: Nd } {
  const [images, outputs, outHeight, outWidth] = gradOutput.shape as [
    number,
    number,
    number,
    number,
  ];
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [, , rows, columns] = weightShape;
  const weight = new Float64Array(outputs * channels * rows * columns);
  const bias = new Float64Array(outputs);
  let at = 0;
  for (let n = 0; n < images; n++) {
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < outHeight; i++) {
        for (let j = 0; j < outWidth; j++) {
          const grad = gradOutput.data[at++]!;
          bias[o]! += grad;
          for (let c = 0; c < channels; c++) {
            for (let u = 0; u < rows; u++) {
              for (let v = 0; v < columns; v++) {
                const y = i * stride - padding + u * dilation;
                const z = j * stride - padding + v * dilation;
                if (y < 0 || y >= height || z < 0 || z >= width) continue;
                weight[((o * channels + c) * rows + u) * columns + v]! += grad *
                  x.data[((n * channels + c) * height + y) * width + z]!;
              }
            }
          }
        }
      }
    }
  }
  return { weight: { data: weight, shape: weightShape }, bias: { data: bias, shape: [outputs] } };
}
