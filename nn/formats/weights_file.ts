// What files of weights have in common, whatever their format.

import type { Shape } from "../../kernels/runtime/mod.ts";
import type { SafetensorsType } from "./safetensors_header.ts";

/** Bytes that can be read anywhere: a file, or memory. */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `offset`; a file that has become shorter is a
   * {@link WeightsFileError}.
   */
  read(offset: number, into: Uint8Array): void;
}

/** One array of a {@link WeightsFile}. */
export interface WeightsEntry {
  /** Element type, under its name in safetensors. */
  readonly dtype: SafetensorsType;
  /** Length of each axis. */
  readonly shape: Shape;
}

/** Named arrays in a file of any format, read one at a time. */
export interface WeightsFile {
  /** Arrays by name, in order of the file. */
  readonly entries: ReadonlyMap<string, WeightsEntry>;
  /** The numbers of an array of floats; `reuse` allows memory that the next call overwrites. */
  floats(name: string, options?: { readonly reuse?: boolean }): Float32Array;
  /** The bytes of an array of any type, little-endian; `reuse` as above. */
  bytes(name: string, options?: { readonly reuse?: boolean }): Uint8Array;
}
