/**
 * How good a network is, without a label: whether it is sure of its classes, and has them all.
 *
 * @module
 */

/**
 * The cosine between the class correlation matrix of the softmax p^(i) of all pixels i,
 *
 *   C_kl = Σ_i p_k^(i) p_l^(i),
 *
 * and the identity: Σ_k C_kk / (√K ‖C‖), the Frobenius norm (SoftmaxCorr: Tu, Deng, Gedeon, Zheng:
 * Assessing model out-of-distribution generalization with softmax prediction probability baselines
 * and a correlation method, 2023). It is 1 for predictions that are sure and of all classes alike,
 * and 1 / √K where all are of one class, however sure.
 */
export class ClassCorrelation {
  /** C, row by row. */
  readonly totals: Float64Array;
  readonly #classes: number;

  /** Starts without a pixel. */
  constructor(classCount: number) {
    this.#classes = classCount;
    this.totals = new Float64Array(classCount * classCount);
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
    for (let image = 0; image < images * classes; image += classes) {
      for (let k = 0; k < classes; k++) {
        for (let l = k; l < classes; l++) {
          let sum = 0;
          const [a, b] = [(image + k) * plane, (image + l) * plane];
          for (let i = 0; i < plane; i++) sum += probabilities[a + i] * probabilities[b + i];
          this.totals[k * classes + l] += sum;
          if (l > k) this.totals[l * classes + k] += sum;
        }
      }
    }
  }

  /** The cosine so far in percent; 0 without pixels. */
  get percent(): number {
    let [trace, squares] = [0, 0];
    this.totals.forEach((sum, index) => {
      if (index % (this.#classes + 1) === 0) trace += sum;
      squares += sum * sum;
    });
    return squares > 0 ? 100 * trace / Math.sqrt(this.#classes * squares) : 0;
  }
}
