// State dicts in files, array by array.

import type { AnyArray } from "../../kernels/runtime/mod.ts";
import type { HostState } from "../module.ts";
import { arrayBytes, safetensorsHeader } from "./safetensors.ts";
import { WeightsValueError } from "./weights_error.ts";
import type { WeightsFile } from "./weights_file.ts";

/**
 * The arrays of a file as something that `loadStateDict` takes. Numbers are read one array at a
 * time through one piece of memory, so a file of any size loads without a second copy.
 *
 * @param prefix Only names that begin with it, without it: `student.` of a checkpoint.
 */
export function stateOf(file: WeightsFile, prefix = ""): ReadonlyMap<string, HostState> {
  const state = new Map<string, HostState>();
  for (const [name, { shape }] of file.entries) {
    if (!name.startsWith(prefix)) continue;
    state.set(name.slice(prefix.length), {
      shape,
      floats: () => checkFinite(name, file.floats(name, { reuse: true })),
    });
  }
  return state;
}

/**
 * The same numbers, which may be the weights of a network: none of them is NaN or an infinity.
 *
 * @param name What the file calls the array, for the error.
 * @throws {WeightsValueError} If one is.
 */
export function checkFinite(name: string, values: Float32Array): Float32Array {
  for (let at = 0; at < values.length; at++) {
    if (!Number.isFinite(values[at])) {
      throw new WeightsValueError(`${name} has ${values[at]} as number ${at} of ${values.length}`);
    }
  }
  return values;
}

/**
 * Writes arrays from the GPU as a safetensors file, one at a time.
 *
 * @param write Takes the parts of the file in order; it must be done with one when it returns.
 */
export async function saveState(
  state: ReadonlyMap<string, AnyArray>,
  write: (bytes: Uint8Array) => void | Promise<void>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const table = [...state].map(([name, { shape, dtype }]) =>
    [name, { shape, dtype: dtype === "f32" ? "F32" : "U32" }] as const
  );
  await write(safetensorsHeader(table, metadata));
  for (const group of inGroups([...state.values()])) {
    const [first] = group;
    if (!first) continue;
    for (const data of await first.gpu.readAll(group)) await write(arrayBytes(data));
  }
}

/**
 * Most bytes that are read back at once: a read waits for the GPU, a small array is not worth it.
 */
const GROUP_BYTES = 32 * 2 ** 20;

function inGroups(arrays: readonly AnyArray[]): AnyArray[][] {
  const groups: AnyArray[][] = [];
  let bytes = Infinity;
  for (const array of arrays) {
    bytes += array.byteLength;
    if (bytes > GROUP_BYTES) {
      groups.push([]);
      bytes = array.byteLength;
    }
    groups.at(-1)?.push(array);
  }
  return groups;
}
