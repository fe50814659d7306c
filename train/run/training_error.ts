import type { AdviceOptions } from "../../kernels/runtime/mod.ts";

/**
 * A training has failed while it ran, through nothing that is wrong with what it was given: the GPU has
 * failed, or the network has not learnt the source. The command line exits with code 3, as where the
 * training has diverged.
 */
export class TrainingError extends Error {
  /** The class name. */
  override readonly name = "TrainingError";
  /** The options that its advice is about, as those of a `DataError`. */
  readonly options: readonly string[];

  /** Takes the sentence, which speaks of options and never of flags, and these options. */
  constructor(message: string, { options = [], ...rest }: AdviceOptions = {}) {
    super(message, rest);
    this.options = options;
  }
}
