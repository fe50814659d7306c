// The failures that a caller may handle, apart from wrong arguments.

/** What an error holds beside its sentence. */
export interface AdviceOptions extends ErrorOptions {
  /**
   * The options that its advice is about, such as `memoryBudget`, by which a program can name its own
   * switches for them.
   */
  readonly options?: readonly string[];
}

/**
 * The GPU cannot be used, or failed: no adapter or only an OpenGL one, no timestamp queries, a kernel
 * that does not build, an error that WebGPU reported, a lost device, or a transfer to the host that
 * failed.
 */
export class GpuError extends Error {
  /** Tells the class apart in messages. */
  override readonly name = "GpuError";
  /** The options that its advice is about. */
  readonly options: readonly string[];

  /** Takes the sentence, and the options that it is about. */
  constructor(message: string, { options = [], ...rest }: AdviceOptions = {}) {
    super(message, rest);
    this.options = options;
  }
}

/** An array does not fit: the memory budget, one buffer, or one binding of the adapter. */
export class MemoryError extends RangeError {
  /** Tells the class apart in messages. */
  override readonly name = "MemoryError";
  /** The options that its advice is about. */
  readonly options: readonly string[];

  /** Takes the sentence, and the options that it is about. */
  constructor(message: string, { options = [], ...rest }: AdviceOptions = {}) {
    super(message, rest);
    this.options = options;
  }
}
