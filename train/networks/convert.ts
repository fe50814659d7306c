// Conversion: the arrays of a weights file of any format into a safetensors file.

import { SAFETENSORS_TYPES, safetensorsHeader } from "../../nn/formats/safetensors.ts";
import { WeightsFileError } from "../../nn/formats/weights_error.ts";
import type { WeightsEntry, WeightsFile } from "../../nn/formats/weights_file.ts";
import { AtomicFile } from "../base/atomic_file.ts";
import { DataError, shortList } from "../base/data_error.ts";
import { checkOther } from "../base/real_path.ts";
import { noteOf } from "./network_note.ts";

/** Which arrays to take, and what to call them; applied in this order. */
export interface ConvertOptions {
  /** Takes only what stands under this name, under the names that it has there: `network`. */
  readonly only?: string | undefined;
  /** Taken from the start of the names that begin with it: `module.`. */
  readonly strip?: string | undefined;
  /** Put before every name. */
  readonly prefix?: string | undefined;
}

/** One array to write. */
export interface ConvertedArray extends WeightsEntry {
  /** What the file calls it. */
  readonly source: string;
}

/**
 * The arrays to write by their new names, in the order of the file.
 *
 * @param path The file, for errors.
 * @throws {DataError} If nothing is left, or two arrays would have one name.
 */
export function selectArrays(
  path: string,
  { entries }: WeightsFile,
  { only, strip = "", prefix = "" }: ConvertOptions,
): Map<string, ConvertedArray> {
  const under = only === undefined ? "" : only.endsWith(".") ? only : `${only}.`;
  const selected = new Map<string, ConvertedArray>();
  for (const [source, entry] of entries) {
    if (!source.startsWith(under)) continue;
    const inside = source.slice(under.length);
    const name = prefix + (inside.startsWith(strip) ? inside.slice(strip.length) : inside);
    const other = selected.get(name);
    if (other) {
      throw new DataError(
        `Cannot convert ${path} as ${other.source} and ${source} would both be called ${name}; ` +
          `strip another prefix`,
        { options: ["strip"] },
      );
    }
    selected.set(name, { dtype: entry.dtype, shape: entry.shape, source });
  }
  if (selected.size === 0) {
    throw new DataError(
      `Cannot convert ${path} as no array ${
        only === undefined ? "is in it" : `is under ${under}`
      }: ` +
        `found ${shortList([...entries.keys()])}; list the names to see all of them`,
      { options: ["list"] },
    );
  }
  return selected;
}

/**
 * Writes a safetensors file, one array at a time; the path shows the old or the whole new file. Of a
 * checkpoint it keeps what tells the network from other weights: its classes, its shape, its images' size.
 *
 * @returns Bytes of the arrays.
 * @throws {DataError} If the output cannot be written, or the weights are damaged.
 */
export function convertWeights(
  { path, weights }: { readonly path: string; readonly weights: WeightsFile },
  output: string,
  options: ConvertOptions = {},
): { arrays: number; bytes: number } {
  // Wider types first: every array lies aligned for its type, which readers that map files need.
  const width = ([, { dtype }]: readonly [string, WeightsEntry]) => SAFETENSORS_TYPES[dtype];
  const selected = new Map(
    [...selectArrays(path, weights, options)].sort((a, b) => width(b) - width(a)),
  );
  checkOther(path, output);
  using file = new AtomicFile(output);
  file.write(safetensorsHeader(selected, noteOf(weights)));
  let bytes = 0;
  for (const { source } of selected.values()) {
    let data: Uint8Array;
    try {
      data = weights.bytes(source, { reuse: true });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // damage, or no memory for it
      const reason = error instanceof WeightsFileError ? error.reason : error.message;
      throw new DataError(
        `Cannot convert ${path} as its ${source} cannot be read: ${reason}; get the file again`,
        { cause: error },
      );
    }
    file.write(data);
    bytes += data.length;
  }
  file.commit();
  return { arrays: selected.size, bytes };
}
