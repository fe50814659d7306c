// What can be wrong with weights: the file, or that they belong to another network.

/** The start of a name from a file, in quotation marks, for a sentence. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

/** A file of weights is damaged, or of no format that is known: the file is at fault. */
export class WeightsFileError extends RangeError {
  /** What is wrong, to stand after "as" in a sentence of the caller: `it is truncated`. */
  readonly reason: string;

  /**
   * Makes the sentence of the reader that noticed.
   *
   * @param what What it was reading: `the zip file`.
   */
  constructor(what: string, reason: string) {
    super(`Cannot read ${what} as ${reason}`);
    this.reason = reason;
  }
}

/**
 * Weights that are sound do not fit the network, or are none of such a network: names are missing
 * or left over, shapes or types differ. Nothing was loaded.
 */
export class WeightsMismatchError extends TypeError {}
