// Running a kernel: what is checked before it is recorded, and how invocations become workgroups.

import type { AnyArray } from "./array.ts";
import { MemoryError } from "./errors.ts";
import type { Kernel } from "./kernel.ts";
import { formatBytes } from "./shape.ts";

/** Options of one dispatch. */
export interface DispatchOptions {
  /** Floating-point operations that the dispatch performs, for profiles. */
  readonly flops?: number;
}

/** Workgroup counts in x, y and z. */
export type Grid = readonly [number, number?, number?];

/**
 * Runs a kernel on arrays: records it in the device's open encoder.
 *
 * @param kernel What `defineKernel` returned.
 * @param arrays Every array of the kernel by name, all on one device.
 * @param params Every parameter by name.
 * @param work How many invocations are needed, which fill workgroups of the kernel's size, folded
 *   as by {@link gridFor}; or workgroups in x, y and z. Zero runs nothing.
 * @throws {TypeError} If an array has another element type than the WGSL, or one buffer is bound
 *   twice where the kernel writes it, unless it can write both and they do not overlap.
 * @throws {RangeError} If the grid exceeds WebGPU's limit, or an array starts where none can be bound.
 * @throws {MemoryError} If an array exceeds what one binding shows.
 */
export function dispatch<A extends string, P extends string>(
  kernel: Kernel<A, P>,
  arrays: Readonly<Record<A, AnyArray>>,
  params: Readonly<Record<P, number>>,
  work: number | Grid,
  options: DispatchOptions = {},
): void {
  const list: AnyArray[] = [];
  for (const { name } of kernel.arrays) list.push(arrays[name as A]);
  const values: number[] = [];
  for (const [name] of kernel.params) values.push(params[name as P]);
  const [first] = list;
  if (!first) throw new TypeError(`Cannot run ${kernel.name} as it has no arrays`);
  const grid = typeof work === "number" ? gridFor(work, kernel.workgroupSize) : wholeGrid(work);
  if (grid[0] === 0 || grid[1] === 0 || grid[2] === 0) return;
  checkDispatch(kernel, list, grid);
  first.gpu.run(kernel, list, values, grid, options.flops ?? 0);
}

function wholeGrid([x, y = 1, z = 1]: Grid): [number, number, number] {
  return [x, y, z];
}

/**
 * Checks a dispatch before it is recorded: WebGPU would report it late, or drop it.
 *
 * @throws {TypeError} If an array lives elsewhere, has another type, or shares a written buffer.
 * @throws {RangeError} If the grid exceeds WebGPU's limit, or an array starts where none can be bound.
 * @throws {MemoryError} If an array exceeds what one binding shows.
 */
function checkDispatch(
  kernel: Kernel,
  arrays: readonly AnyArray[],
  grid: readonly [number, number, number],
): void {
  const { gpu } = arrays[0] as AnyArray;
  if (Math.max(grid[0], grid[1], grid[2]) > MAX_GROUPS) {
    throw new RangeError(
      `Cannot run ${kernel.name} as its grid [${grid.join(", ")}] exceeds ${MAX_GROUPS}`,
    );
  }
  for (let index = 0; index < arrays.length; index++) {
    const array = arrays[index] as AnyArray;
    const { name, dtype, written } = kernel.arrays[index] as Kernel["arrays"][number];
    if (array.gpu !== gpu) {
      throw new TypeError(`Cannot run ${kernel.name} as "${name}" lives on another device`);
    }
    if (dtype && dtype !== array.dtype) {
      throw new TypeError(`Cannot run ${kernel.name} as "${name}" is ${array.dtype}, not ${dtype}`);
    }
    if (array.byteLength > gpu.maxBindingBytes) {
      throw new MemoryError(
        `Cannot run ${kernel.name} as "${name}" takes ${
          formatBytes(array.byteLength)
        } and a binding shows at most ${
          formatBytes(gpu.maxBindingBytes)
        }: use smaller batches or crops`,
      );
    }
    if (array.byteOffset % gpu.offsetAlignment !== 0) {
      throw new RangeError(
        `Cannot run ${kernel.name} as "${name}" starts at byte ${array.byteOffset}, not a multiple of ${gpu.offsetAlignment}`,
      );
    }
    if (written) checkAlone(kernel, arrays, index);
  }
}

/**
 * WebGPU takes two bindings of one buffer if both can write, and to ranges that are apart; it refuses
 * to write what is bound to be read, even in another range.
 */
function checkAlone(kernel: Kernel, arrays: readonly AnyArray[], index: number): void {
  const array = arrays[index] as AnyArray;
  for (let at = 0; at < arrays.length; at++) {
    const other = arrays[at] as AnyArray;
    if (at === index || other.storage !== array.storage) continue;
    const apart = array.byteOffset + array.byteLength <= other.byteOffset ||
      other.byteOffset + other.byteLength <= array.byteOffset;
    if (apart && kernel.arrays[at]?.writable) continue;
    throw new TypeError(
      `Cannot run ${kernel.name} as "${kernel.arrays[index]?.name}" and "${
        kernel.arrays[at]?.name
      }" share a buffer that it writes`,
    );
  }
}

/** WebGPU refuses more workgroups than this along one axis of a grid. */
export const MAX_GROUPS = 65535;

/**
 * Workgroups for a flat range of invocations, folded into y past 65,535. In WGSL the flat index is
 * `(group.y * groups.x + group.x) * WORKGROUP_SIZE + local`.
 */
export function gridFor(invocations: number, workgroupSize: number): [number, number, number] {
  const groups = Math.ceil(invocations / workgroupSize);
  if (groups <= MAX_GROUPS) return [groups, 1, 1];
  const rows = Math.ceil(groups / MAX_GROUPS);
  return [Math.ceil(groups / rows), rows, 1];
}
