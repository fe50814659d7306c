/**
 * A training has failed while it ran, through nothing that is wrong with what it was given: the GPU has
 * failed. The command line exits with code 3.
 */
export class TrainingError extends Error {
  /** The class name. */
  override readonly name: string = "TrainingError";
}

/** A training whose loss is no longer a finite number; no checkpoint holds what it has become. */
export class DivergenceError extends TrainingError {
  /** The class name. */
  override readonly name = "DivergenceError";
}
