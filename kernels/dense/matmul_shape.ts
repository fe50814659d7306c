// What a product of packed matrices takes, in whichever class of kernels: matmul.wgsl has the
// formula.

import type { GpuArray, Precision } from "../runtime/mod.ts";

/** Lengths of the axes of `multiply`. */
export interface MultiplySizes {
  /** B. */
  readonly batch: number;
  /** M. */
  readonly rows: number;
  /** K. */
  readonly depth: number;
  /** N, a multiple of 4. */
  readonly columns: number;
  /**
   * Whether `left` has a matrix for each of the batch; N is then a multiple of
   * `MULTIPLY_TILE.columns`.
   */
  readonly leftPerBatch?: boolean;
  /** The numbers that are multiplied (default `f32`); the direct class has no others. */
  readonly precision?: Precision;
  /** Whether to add to `c` instead of overwriting it (default false). */
  readonly accumulate?: boolean;
}

/** Operands of `multiply`. */
export interface MultiplyArrays {
  /** Packed, [K, M up to a multiple of 4], or [B, K, …]. */
  readonly left: GpuArray;
  /** [B, K, N]. */
  readonly right: GpuArray;
  /** [M], or null. */
  readonly bias: GpuArray | null;
  /** Output, [B, M, N]. */
  readonly c: GpuArray;
}
