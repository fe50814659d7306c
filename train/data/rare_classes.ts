/**
 * Rare class sampling (Hoyer et al., DAFormer, CVPR 2022, section 3.3): a labelled image is drawn for
 * a class, and rare classes are drawn more often, so that a short training sees them at all.
 *
 * The published numbers of pixels are of crops of 512×512. Here they are the same share of a crop,
 * counted at the size at which an image is cropped; and where a class is small in most images that
 * hold it, the half of those with the most will do.
 *
 * @module
 */
import type { Size } from "../../kernels/planes.ts";
import { Random } from "../../nn/random.ts";
import type { ClassCounts } from "./class_pixels.ts";
import type { Wanted } from "./samples.ts";

/** Share of a crop that a class should have in an image that is drawn for it: 3000 of 512². */
const LEAST_SHARE = 3000 / 512 ** 2;
/** Share of that which should be in the crop itself. */
const SHARE_IN_CROP = 0.5;

/** How images are drawn. */
export interface RareClassOptions {
  /** T of equation 5; 0.01 in DAFormer. The higher, the more alike the classes. */
  readonly temperature: number;
  /** Size of a crop. */
  readonly crop: Size;
  /** Length that an image's long side has when it is cropped, at scale 1. */
  readonly longSide: number;
}

/** The images of a class. */
interface Candidates {
  readonly trainId: number;
  /** Pixels that an image should have at the size at which it is cropped. */
  readonly least: number;
  readonly indices: readonly number[];
}

/**
 * Draws images for classes. A draw depends on nothing but seed, stream and position, so that any
 * position can be resumed.
 */
export class RareClasses {
  /**
   * How often images are drawn for each class (equation 5):
   * P(c) = exp((1 − f_c) / T) / Σ_c' exp((1 − f_c') / T), where f_c is the share of c in all labelled
   * pixels. Classes that no image has are left out.
   */
  readonly probabilities: readonly number[];
  readonly #classes: readonly Candidates[];
  /** Image pixels per pixel at which an image is cropped. */
  readonly #areas: readonly number[];

  /**
   * Finds the images of every class.
   *
   * @param counts What the label of each image holds.
   * @throws {RangeError} If no label has a pixel of a class.
   */
  constructor(counts: readonly ClassCounts[], { temperature, crop, longSide }: RareClassOptions) {
    const classes = counts[0]?.pixels.length ?? 0;
    const totals = Array.from(
      { length: classes },
      (_, trainId) => counts.reduce((sum, { pixels }) => sum + pixels[trainId], 0),
    );
    this.probabilities = probabilitiesOf(totals, temperature);
    this.#areas = counts.map(({ width, height }) => (Math.max(width, height) / longSide) ** 2);
    const enough = LEAST_SHARE * crop.height * crop.width;
    this.#classes = totals.flatMap((total, trainId) => {
      if (total === 0) return [];
      const sizes = counts.map(({ pixels }, index) => pixels[trainId] / this.#areas[index]);
      const least = Math.min(enough, upperMedian(sizes.filter((size) => size > 0)));
      const indices = sizes.flatMap((size, index) => size >= least ? [index] : []);
      return [{ trainId, least, indices }];
    });
    if (this.#classes.length === 0) {
      throw new RangeError("Cannot draw images for classes as no label has a pixel of one");
    }
  }

  /**
   * Draws an image: first a class, then evenly one of the images that hold enough of it.
   *
   * @param stream Tells apart streams of one seed.
   * @param position In the stream.
   */
  draw(
    seed: number,
    stream: string,
    position: number,
  ): { readonly index: number; readonly wanted: Wanted } {
    const random = new Random(seed, `rare/${stream}/${position}`);
    const { trainId, least, indices } = this.#classAt(random.uniform());
    const index = indices[random.below(indices.length)];
    return { index, wanted: { trainId, pixels: SHARE_IN_CROP * least * this.#areas[index] } };
  }

  /** The class in whose share of [0, 1) a number lies. */
  #classAt(place: number): Candidates {
    let end = 0;
    const found = this.#classes.find(({ trainId }) => place < (end += this.probabilities[trainId]));
    return found ?? this.#classes[this.#classes.length - 1]; // where the sum is a rounding below 1
  }
}

/** Equation 5; 0 for a class without pixels. */
function probabilitiesOf(totals: readonly number[], temperature: number): number[] {
  const all = totals.reduce((sum, total) => sum + total, 0);
  const present = totals.filter((total) => total > 0);
  const rarest = Math.min(...present);
  // Over the rarest class, so that no power overflows.
  const powers = totals.map((total) =>
    total > 0 ? Math.exp((rarest - total) / all / temperature) : 0
  );
  const sum = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / sum);
}

function upperMedian(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
