// Naive reference of warps, in doubles: one view of one plane at a time.

type Matrix = readonly number[];

/** One plane of an input, row by row. */
export interface Plane {
  readonly data: ArrayLike<number>;
  readonly width: number;
  readonly height: number;
}

/** A view, as the library takes it. */
export interface View {
  readonly matrix: Matrix;
  readonly cutout?: Matrix | null;
}

function apply([a, b, c, d, e, f]: Matrix, x: number, y: number): [number, number] {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** Where each pixel of a view looks at: a place in the input, or null where it sees nothing. */
export function places(
  { matrix, cutout }: View,
  input: { readonly width: number; readonly height: number },
  output: { readonly width: number; readonly height: number },
): ([number, number] | null)[] {
  return Array.from({ length: output.width * output.height }, (_, i) => {
    const [column, row] = [i % output.width, Math.floor(i / output.width)];
    const [x, y] = apply(matrix, column, row);
    const isInside = x >= -0.5 && y >= -0.5 && x < input.width - 0.5 && y < input.height - 0.5;
    if (cutout) {
      const [u, v] = apply(cutout, column, row);
      if (u >= 0 && u < 1 && v >= 0 && v < 1) return null;
    }
    return isInside ? [x, y] : null;
  });
}

/** The plane between its pixels; beyond the border's centres it goes on as it ends. */
export function bilinear(
  { data, width, height }: Plane,
  [x, y]: readonly [number, number],
): number {
  let sum = 0;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const dx = Math.abs(Math.min(Math.max(x, 0), width - 1) - column);
      const dy = Math.abs(Math.min(Math.max(y, 0), height - 1) - row);
      if (dx < 1 && dy < 1) sum += (1 - dx) * (1 - dy) * (data[row * width + column]);
    }
  }
  return sum;
}

/** The plane's pixel nearest to a place inside it. */
export function nearest({ data, width }: Plane, [x, y]: readonly [number, number]): number {
  return data[Math.floor(y + 0.5) * width + Math.floor(x + 0.5)];
}
