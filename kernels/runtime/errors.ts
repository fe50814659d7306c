// What a caller may want to tell from a mistake in the program: the state of the machine.

/** The GPU cannot be opened or used: no adapter, a driver's error, a lost device. */
export class GpuError extends Error {
  /** The class name. */
  override readonly name = "GpuError";
}

/** An array needs more memory than the budget or the adapter has. */
export class MemoryError extends RangeError {
  /** The class name. */
  override readonly name = "MemoryError";
}
