/**
 * Draws the images of the benchmark.
 *
 * @module
 */
import { SOURCE, TARGET } from "./domains.ts";
import { develop } from "./imaging.ts";
import { paintScene } from "./paint.ts";
import { StreetRandom } from "./random.ts";
import { drawScene } from "./draw_scene.ts";

/** The splits: a place in this list is part of the images' random numbers. */
const SPLITS: readonly StreetOptions["split"][] = ["train", "val", "choose"];

/** Which image to draw. */
export interface StreetOptions {
  /** The seed of the whole benchmark, an integer. */
  seed: number;
  /** `source` is the clean rendered domain, `target` the camera domain. */
  domain: "source" | "target";
  /** Splits differ in their random numbers only. */
  split: "train" | "val" | "choose";
  /** Number of the image in its split, from 0. */
  index: number;
  /** Pixels per row, at least 16; 256 is what the benchmark is designed for. */
  width: number;
  /** Rows, at least 16; 128 is what the benchmark is designed for. */
  height: number;
}

/** An image with its label. */
export interface StreetImage {
  /** Red, green and blue bytes: `height · width · 3`. */
  image: Uint8Array<ArrayBuffer>;
  /** Cityscapes label ids (road is 7): `height · width`. */
  label: Uint8Array<ArrayBuffer>;
}

/**
 * Draws one image of the benchmark with its label: a pure function of its options.
 *
 * @throws {RangeError} If the size is no integer or under 16, or seed or index is no integer.
 */
export function renderStreet(options: StreetOptions): StreetImage {
  const { seed, index, width, height } = options;
  for (
    const [name, value, least] of [
      ["seed", seed, -Infinity],
      ["index", index, 0],
      ["width", width, 16],
      ["height", height, 16],
    ] as const
  ) {
    if (!Number.isSafeInteger(value) || value < least) {
      const expected = least > 0 ? `an integer of at least ${least}` : "a suitable integer";
      throw new RangeError(`Cannot draw street as ${name} is ${value}: expected ${expected}`);
    }
  }
  const domain = options.domain === "source" ? SOURCE : TARGET;
  const split = SPLITS.indexOf(options.split);
  const random = new StreetRandom(seed, domain === SOURCE ? 0 : 1, split, index);
  const scene = drawScene(random, domain, width, height);
  const canvas = paintScene(random, scene, domain.imaging, width, height);
  return { image: develop(random, canvas, domain.imaging), label: canvas.label };
}
