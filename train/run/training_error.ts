/**
 * A training has failed while it ran, through nothing that is wrong with what it was given: the GPU has
 * failed. The command line exits with code 3, as where the training has diverged.
 */
export class TrainingError extends Error {
  /** The class name. */
  override readonly name = "TrainingError";
}
