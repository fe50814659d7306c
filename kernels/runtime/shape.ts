// Shapes and element types: pure arithmetic shared by every layer.

/** Element types that the kernels understand, each four bytes. */
export type DType = "f32" | "u32";

/** The host array of an element type. */
export type HostArray<D extends DType> = { f32: Float32Array; u32: Uint32Array }[D];

/** The length of each axis, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/**
 * The number of elements of a shape.
 *
 * @throws {RangeError} If an axis is not a non-negative integer.
 */
export function elementCount(shape: Shape): number {
  let count = 1;
  for (let axis = 0; axis < shape.length; axis++) {
    const length = shape[axis] as number;
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new RangeError(
        `Cannot use the shape ${formatShape(shape)}: every axis must be a non-negative integer`,
      );
    }
    count *= length;
  }
  return count;
}

/** A shape for people: `[2, 3, 65, 97]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Whether two shapes are equal axis by axis. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** A byte count for people: `1.5 GiB`, `20 MiB`, `96 B`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? bytes : Number(bytes.toPrecision(3))} ${units[unit]}`;
}
