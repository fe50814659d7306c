// What contrastive pre-training looks at: two views of an image, and places that both see.

import type { Size } from "../../../kernels/planes.ts";
import type { AffineMatrix, ColourMatrix } from "../../../kernels/warp.ts";
import type { Random } from "../../../nn/random.ts";
import { brightness, composeColours, contrast, hue, saturation } from "../../views/colour.ts";
import {
  type ViewOperation,
  ViewTransform,
  weakView,
  type WeakViewOptions,
} from "../../views/views.ts";

/** Two views of one image, of the same size. */
export interface ContrastPair {
  /** Where the pixels of each lie in the image. */
  readonly views: readonly [ViewTransform, ViewTransform];
  /** What becomes of the colours of each. */
  readonly colours: readonly [ColourMatrix, ColourMatrix];
  /** Places that both views see, in pixels of each: column, row, column, row, … */
  readonly places: readonly [Float32Array, Float32Array];
}

/** Ranges of the draws; colours are those of SimCLR at half strength, as leaves and facades differ by hue. */
const MOST = {
  /** Natural logarithm of the second view's scale over the first one's. */
  scale: 0.4,
  /** Share of the side by which they lie apart. */
  translation: 0.25,
  brightness: 0.4,
  contrast: 0.4,
  saturation: 0.4,
  hueDegrees: 36,
};
const COLOUR_CHANCE = 0.8;
const GREY_CHANCE = 0.2;
/** Draws of one place; the last counts where none lies in both views. */
const TRIES = 20;

/**
 * Draws a pair: a weak view, and another of the same part of the image that is flipped, enlarged and
 * moved at random; the colours of both are changed, each in its way.
 *
 * @param size Size of the image.
 * @param count Places to draw.
 */
export function contrastPair(
  random: Random,
  size: Size,
  options: WeakViewOptions,
  count: number,
): ContrastPair {
  const { crop } = options;
  const first = weakView(random, size, options);
  const upTo = (most: number) => random.uniform(-most, most);
  const operations: ViewOperation[] = [
    { kind: "scale", factor: Math.exp(upTo(MOST.scale)) },
    {
      kind: "translate",
      x: upTo(MOST.translation) * crop.width,
      y: upTo(MOST.translation) * crop.height,
    },
  ];
  if (random.uniform() < 0.5) operations.push({ kind: "flip" });
  const second = new ViewTransform(size, [...first.operations, ...operations]);
  const between = new ViewTransform(crop, operations).matrix;
  const places = [new Float32Array(2 * count), new Float32Array(2 * count)] as const;
  for (let at = 0; at < 2 * count; at += 2) {
    for (let tries = 0; tries < TRIES; tries++) {
      const [x, y] = [random.uniform(0, crop.width - 1), random.uniform(0, crop.height - 1)];
      const there = moved(between, x, y);
      places[0].set(there, at);
      places[1].set([x, y], at);
      if (isInside(there, crop) && isInside(moved(second.matrix, x, y), size)) break;
    }
  }
  return {
    views: [first, second],
    colours: [colourJitter(random), colourJitter(random)],
    places,
  };
}

function colourJitter(random: Random): ColourMatrix {
  const changes: ColourMatrix[] = [];
  if (random.uniform() < COLOUR_CHANCE) {
    const factor = (most: number) => 1 + random.uniform(-most, most);
    changes.push(
      brightness(factor(MOST.brightness)),
      contrast(factor(MOST.contrast)),
      saturation(factor(MOST.saturation)),
      hue(random.uniform(-MOST.hueDegrees, MOST.hueDegrees)),
    );
  }
  if (random.uniform() < GREY_CHANCE) changes.push(saturation(0));
  return changes.reduce((before, next) => composeColours(next, before), brightness(1));
}

function moved([a, b, c, d, e, f]: AffineMatrix, x: number, y: number): [number, number] {
  return [a * x + b * y + c, d * x + e * y + f];
}

function isInside([x, y]: [number, number], { width, height }: Size): boolean {
  return x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1;
}
