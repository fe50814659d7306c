// f64 twins of contrastive learning: the formulas as written, one row at a time.

import type { Nd } from "../_check.ts";

/** The rows of a matrix. */
function rowsOf({ data, shape: [rows, columns] }: Nd): number[][] {
  return Array.from(
    { length: rows },
    (_, row) => Array.from(data.subarray(row * columns, (row + 1) * columns)),
  );
}

function matrix(rows: readonly number[][]): Nd {
  return { data: Float64Array.from(rows.flat()), shape: [rows.length, rows[0].length] };
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

/** Every row divided by its length. */
export function normaliseRows(x: Nd): Nd {
  return matrix(
    rowsOf(x).map((row) => {
      const length = Math.max(Math.sqrt(dot(row, row)), 1e-12);
      return row.map((value) => value / length);
    }),
  );
}

/** a bᵀ. */
export function dotRows(a: Nd, b: Nd): Nd {
  return matrix(rowsOf(a).map((left) => rowsOf(b).map((right) => dot(left, right))));
}

/** NT-Xent of similarities [2B, 2B], a scalar. */
export function ntXent(similarities: Nd, temperature: number): Nd {
  const rows = rowsOf(similarities);
  const losses = rows.map((row, i) => {
    const partner = (i + rows.length / 2) % rows.length;
    const others = row.filter((_, j) => j !== i).map((value) => Math.exp(value / temperature));
    return -Math.log(Math.exp(row[partner] / temperature) / others.reduce((a, b) => a + b));
  });
  const mean = losses.reduce((a, b) => a + b) / losses.length;
  return { data: Float64Array.of(mean), shape: [] };
}

/** Bilinear samples [N P, C] of [N, C, H, W] at places [N, P, 2]. */
export function samplePlanes(x: Nd, places: Nd): Nd {
  const [images, channels, height, width] = x.shape;
  const [, count] = places.shape;
  const data = new Float64Array(images * count * channels);
  for (let n = 0; n < images; n++) {
    for (let p = 0; p < count; p++) {
      const column = Math.min(Math.max(places.data[(n * count + p) * 2], 0), width - 1);
      const row = Math.min(Math.max(places.data[(n * count + p) * 2 + 1], 0), height - 1);
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let y = 0; y < height; y++) {
          for (let x0 = 0; x0 < width; x0++) {
            const weight = Math.max(0, 1 - Math.abs(row - y)) *
              Math.max(0, 1 - Math.abs(column - x0));
            sum += weight * x.data[((n * channels + c) * height + y) * width + x0];
          }
        }
        data[(n * count + p) * channels + c] = sum;
      }
    }
  }
  return { data, shape: [images * count, channels] };
}
