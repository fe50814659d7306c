/**
 * How good a network is, without a label: whether what it tells apart looks different.
 *
 * @module
 */

/**
 * The share of the variance of colours within images that the predicted classes explain,
 *
 *   1 − Σ_i Σ_k Σ_{x ∈ P_ik} ‖ c(x) − c̄_ik ‖² / Σ_i Σ_x ‖ c(x) − c̄_i ‖²,
 *
 * where P_ik are the pixels of image i that are predicted as class k, c their colours, c̄_ik and c̄_i
 * the mean colours of P_ik and of the image: the correlation ratio η² of colour and class (Fisher,
 * 1925), with which segmentations were judged before there were networks (the region uniformity of
 * Levine and Nazif, 1985). A network that has collapsed to one class explains nothing. Unlike
 * confidence it cannot be raised by being sure of what is wrong: colours are not the network's.
 */
export class Separation {
  readonly #classes: number;
  #within = 0;
  #total = 0;

  /** Starts without an image. */
  constructor(classCount: number) {
    this.#classes = classCount;
  }

  /**
   * Adds some images, in double precision and a fixed order.
   *
   * @param probabilities Softmax, [N, K, h, w].
   * @param colours The images at the same size, [N, 3, h, w].
   * @throws {RangeError} If they are not of whole images of K classes.
   */
  add(probabilities: Float32Array, colours: Float32Array, shape: readonly number[]): void {
    const [images = 0, classes = 0, height = 0, width = 0] = shape;
    const plane = height * width;
    if (
      classes !== this.#classes || shape.length !== 4 ||
      probabilities.length !== images * classes * plane || colours.length !== images * 3 * plane
    ) {
      throw new RangeError(
        `Cannot add predictions as they must be [N, ${this.#classes}, h, w] with [N, 3, h, w] of ` +
          `colours: found [${shape.join(", ")}] with ${probabilities.length} and ` +
          `${colours.length} values`,
      );
    }
    for (let image = 0; image < images; image++) {
      const first = image * classes * plane;
      const own = probabilities.subarray(first, first + classes * plane);
      const predicted = mostProbable(own, classes);
      for (let channel = 3 * image; channel < 3 * image + 3; channel++) {
        const values = colours.subarray(channel * plane, (channel + 1) * plane);
        this.#within += squaredDeviations(values, predicted, classes);
        this.#total += squaredDeviations(values, new Uint32Array(plane), 1);
      }
    }
  }

  /** The share so far in percent; 0 without images, and where all are of one colour. */
  get percent(): number {
    return this.#total > 0 ? 100 * Math.max(0, 1 - this.#within / this.#total) : 0;
  }
}

/** The class of every pixel, the first of equal ones. */
function mostProbable(probabilities: Float32Array, classes: number): Uint32Array {
  const plane = probabilities.length / classes;
  return Uint32Array.from({ length: plane }, (_, i) => {
    let best = 0;
    for (let k = 1; k < classes; k++) {
      if (probabilities[k * plane + i] > probabilities[best * plane + i]) best = k;
    }
    return best;
  });
}

/** The sum of squared deviations of values from the mean of their group. */
function squaredDeviations(values: Float32Array, groups: Uint32Array, count: number): number {
  const [sums, counts] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < values.length; i++) {
    sums[groups[i]] += values[i];
    counts[groups[i]]++;
  }
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    squares += (values[i] - sums[groups[i]] / counts[groups[i]]) ** 2;
  }
  return squares;
}
