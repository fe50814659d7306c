/**
 * How good a network is, without a label: information maximisation.
 *
 * @module
 */

/**
 * The mutual information between images and predicted classes,
 *
 *   I = H( mean_i p^(i) ) − mean_i H( p^(i) ),
 *
 * over the pixels i of the softmax p: high where the network is sure of each pixel and yet predicts
 * many classes (Krause, Perona, Gomes: Discriminative clustering by regularized information
 * maximization, 2010; for domain adaptation Shi and Sha, 2012, and Liang et al., 2020). A network
 * that has collapsed to one class, or is sure of nothing, has none.
 */
export class Information {
  readonly #classes: number;
  /** By class the sum of its probabilities; then the sum of entropies, and the pixels. */
  readonly totals: Float64Array;

  /** Starts without a pixel. */
  constructor(classCount: number) {
    this.#classes = classCount;
    this.totals = new Float64Array(classCount + 2);
  }

  /**
   * Adds the pixels of some images, in double precision and a fixed order.
   *
   * @param probabilities Softmax, [N, K, h, w].
   * @throws {RangeError} If they are not of whole images of K classes.
   */
  add(probabilities: Float32Array, shape: readonly number[]): void {
    const [images = 0, classes = 0, height = 0, width = 0] = shape;
    const plane = height * width;
    if (
      classes !== this.#classes || shape.length !== 4 ||
      probabilities.length !== images * classes * plane
    ) {
      throw new RangeError(
        `Cannot add probabilities as they must be [N, ${this.#classes}, h, w]: found ` +
          `[${shape.join(", ")}] with ${probabilities.length} values`,
      );
    }
    for (let row = 0; row < images * classes; row++) {
      let [sum, entropy] = [0, 0];
      for (let i = row * plane; i < (row + 1) * plane; i++) {
        const p = probabilities[i];
        sum += p;
        if (p > 0) entropy -= p * Math.log(p);
      }
      this.totals[row % classes] += sum;
      this.totals[classes] += entropy;
    }
    this.totals[classes + 1] += images * plane;
  }

  /** The information so far in percent of its most, ln K; 0 without pixels. */
  get percent(): number {
    const [entropy = 0, pixels = 0] = this.totals.subarray(this.#classes);
    if (pixels === 0) return 0;
    let entropyOfMean = 0;
    for (const sum of this.totals.subarray(0, this.#classes)) {
      const p = sum / pixels;
      if (p > 0) entropyOfMean -= p * Math.log(p);
    }
    const information = entropyOfMean - entropy / pixels;
    return 100 * information / Math.log(this.#classes);
  }
}
