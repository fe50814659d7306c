// Pooled buffers and stretches of them: what the pool hands out, and what the queue works on.

/** One pooled buffer and the references that keep it alive. */
export interface Storage {
  /** Unique for the life of the device. */
  readonly id: number;
  /** The memory. */
  readonly buffer: GPUBuffer;
  /** Bytes allocated; the arrays in it may be shorter. */
  readonly capacity: number;
  /** Arrays that share the buffer; at 0 it returns to the pool. */
  references: number;
  /** The submission that last used the buffer; see `CommandQueue.serial`. */
  lastSerial: number;
  /** What was computed from the contents, by `GpuArray.derived`. */
  derived?: Map<string, Derived> | undefined;
  /** What a launcher remembers of the arrays in the buffer, until they are released. */
  memo?: unknown;
}

/** A stretch of a buffer, as kernels bind it and copies move it. */
export interface Span {
  /** The buffer. */
  readonly storage: Storage;
  /** Where it starts. */
  readonly byteOffset: number;
  /** Its length. */
  readonly byteLength: number;
}

/** An array that was computed from a buffer's contents: all that the pool needs to know of it. */
export interface Derived {
  /** Its own memory. */
  readonly storage: Storage;
  /** Gives the pool's reference to it back. */
  release(): void;
}
