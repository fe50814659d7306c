// The failures that a caller may handle, apart from wrong arguments.

/**
 * The GPU cannot be used, or failed: no adapter or only an OpenGL one, no timestamp queries, a kernel
 * that does not build, an error that WebGPU reported, a lost device, or a transfer to the host that
 * failed.
 */
export class GpuError extends Error {
  /** Tells the class apart in messages. */
  override readonly name = "GpuError";
}

/** An array does not fit: the memory budget, one buffer, or one binding of the adapter. */
export class MemoryError extends RangeError {
  /** Tells the class apart in messages. */
  override readonly name = "MemoryError";
}
