/** A training whose loss is no longer a finite number; no checkpoint holds what it has become. */
export class DivergenceError extends RangeError {
  /** The class name. */
  override readonly name = "DivergenceError";
}
