// Splitting: no array is too large for a kernel, only for one binding or one dispatch of it.

import type { AnyArray } from "./array.ts";
import { MemoryError } from "./errors.ts";
import { formatBytes } from "./shape.ts";
import { MOST_BYTES } from "./work.ts";

/** Runs a launcher's dispatch on arrays, or on the same rows of each. */
export type RunRange<I extends readonly AnyArray[], O extends readonly AnyArray[]> = (
  inputs: I,
  outputs: O,
  first: number,
) => void;

/**
 * Calls `run` once with all arrays if each fits one binding and all together one dispatch, else for
 * ranges of images (rows of the first axis, of which all arrays have the same number) that do. Rows
 * that do not start where the adapter can bind are moved through temporary arrays.
 *
 * @throws {MemoryError} If one image alone exceeds the adapter's binding limit.
 */
export function sliceByImage<
  const I extends readonly AnyArray[],
  const O extends readonly AnyArray[],
>(
  inputs: I,
  outputs: O,
  run: RunRange<I, O>,
): void {
  if (fit(inputs, outputs)) return run(inputs, outputs, 0);
  const arrays = [...inputs, ...outputs];
  const { gpu, shape: [images = 1] } = arrays[0] as AnyArray;
  const largest = arrays.reduce((a, b) => (b.byteLength > a.byteLength ? b : a));
  let step = Math.floor(gpu.maxBindingBytes / (largest.byteLength / images));
  const total = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  step = Math.min(step, Math.max(1, Math.floor(MOST_BYTES / (total / images))));
  if (step < 1) {
    throw new MemoryError(
      `Cannot split "${largest.label}" as one image of it takes ${
        formatBytes(largest.byteLength / images)
      } and this adapter binds at most ${formatBytes(gpu.maxBindingBytes)}: use a smaller crop`,
    );
  }
  const aligned = (rows: number) =>
    arrays.every(({ byteLength }) => (rows * byteLength / images) % gpu.offsetAlignment === 0);
  let unit = 1;
  while (unit < step && !aligned(unit)) unit *= 2;
  if (unit <= step && aligned(unit)) step -= step % unit;
  for (let first = 0; first < images; first += step) {
    runRows(inputs, outputs, first, Math.min(step, images - first), run);
  }
}

/** Whether one binding shows each, and one dispatch may take all; asked of a device that works. */
function fit(inputs: readonly AnyArray[], outputs: readonly AnyArray[]): boolean {
  let total = 0;
  for (const arrays of [inputs, outputs]) {
    for (const { byteLength, gpu } of arrays) {
      gpu.check();
      if (byteLength > gpu.maxBindingBytes) return false;
      total += byteLength;
    }
  }
  return total <= MOST_BYTES;
}

function runRows<const I extends readonly AnyArray[], const O extends readonly AnyArray[]>(
  inputs: I,
  outputs: O,
  first: number,
  count: number,
  run: RunRange<I, O>,
): void {
  const temporaries: AnyArray[] = [];
  const rows = (array: AnyArray): AnyArray => {
    const slice = array.slice(first, count);
    temporaries.push(slice);
    if (slice.byteOffset % array.gpu.offsetAlignment === 0) return slice;
    const moved = array.gpu.empty(slice.shape, array.label, array.dtype);
    temporaries.push(moved);
    array.gpu.copy(slice, moved); // outputs too, as a kernel may update them in place
    return moved;
  };
  const movedInputs = inputs.map(rows) as unknown as I;
  const movedOutputs = outputs.map(rows) as unknown as O;
  run(movedInputs, movedOutputs, first);
  outputs.forEach((array, index) => {
    const moved = movedOutputs[index] as AnyArray;
    if (moved.storage === array.storage) return;
    const slice = array.slice(first, count);
    array.gpu.copy(moved, slice);
    slice.release();
  });
  for (const array of temporaries) array.release();
}

/**
 * Like {@link sliceByImage} for element-wise kernels: all arrays have the same size, and ranges are
 * of elements. Parts of arrays arrive flat.
 */
export function sliceByElement<
  const I extends readonly AnyArray[],
  const O extends readonly AnyArray[],
>(
  inputs: I,
  outputs: O,
  run: RunRange<I, O>,
): void {
  if (fit(inputs, outputs)) return run(inputs, outputs, 0);
  const flat = (array: AnyArray) => array.view([array.size]);
  const flatInputs = inputs.map(flat) as unknown as I;
  const flatOutputs = outputs.map(flat) as unknown as O;
  sliceByImage(flatInputs, flatOutputs, run);
  for (const array of [...flatInputs, ...flatOutputs]) array.release();
}
