/**
 * The views that training draws: full, weak and strong.
 *
 * @module
 */
import type { Size } from "../../kernels/planes.ts";
import type { ColourMatrix } from "../../kernels/warp.ts";
import type { Random } from "../../nn/random.ts";
import { brightness, composeColours, contrast, hue, saturation } from "./colour.ts";
import { type ViewOperation, ViewTransform } from "./view_transform.ts";

export { FILL, type Rectangle, type ViewOperation, ViewTransform } from "./view_transform.ts";

/** The image as it is. */
export function fullView(size: Size): ViewTransform {
  return new ViewTransform(size);
}

/** How weak views are drawn. */
export interface WeakViewOptions {
  /** Size of the view. */
  readonly crop: Size;
  /** Length that the image's long side is resized to at scale 1. */
  readonly longSide: number;
  /** Range of the random scale, evenly drawn. */
  readonly scales: readonly [least: number, most: number];
  /** Chance of a flip. */
  readonly flip: number;
}

/**
 * A weak view: the image resized at random, a random crop of it (padded where it is smaller),
 * perhaps flipped.
 *
 * @param size Size of the image.
 */
export function weakView(random: Random, size: Size, options: WeakViewOptions): ViewTransform {
  const { crop, longSide, scales: [least, most], flip } = options;
  const factor = random.uniform(least, most) * longSide / Math.max(size.height, size.width);
  const resized = {
    height: Math.max(1, Math.round(size.height * factor)),
    width: Math.max(1, Math.round(size.width * factor)),
  };
  const cropped = new ViewTransform(size, [
    { kind: "resize", ...resized },
    {
      kind: "crop",
      left: placeOf(random, resized.width, crop.width),
      top: placeOf(random, resized.height, crop.height),
      ...crop,
    },
  ]);
  return random.uniform() < flip ? cropped.append({ kind: "flip" }) : cropped;
}

/** Where a crop starts: evenly inside a longer side, or evenly around a shorter one. */
function placeOf(random: Random, length: number, crop: number): number {
  const room = length - crop;
  return Math.sign(room) * random.below(Math.abs(room) + 1);
}

/** A look at a weak view. */
export interface StrongView {
  /** Where its pixels lie in the weak view. */
  readonly transform: ViewTransform;
  /** What becomes of the weak view's colours. */
  readonly colour: ColourMatrix;
}

/** Ranges of a strong view's draws. Geometry is method.md's, each evenly drawn up to its bound. */
const MOST = {
  degrees: 10,
  shear: 0.1,
  /** Share of the side. */
  translation: 0.1,
  /** Natural logarithm of the factor. */
  scale: 0.1,
  brightness: 0.4,
  contrast: 0.4,
  saturation: 0.4,
  hueDegrees: 20,
};

/**
 * A strong view of a weak one, of the same size: flip, colours (brightness, contrast, saturation,
 * hue), geometry (rotate, shear, translate, scale) and a cutout of a third of the short side, each
 * with probability one half and its strength drawn at random.
 *
 * @param size Size of the weak view.
 */
export function strongView(random: Random, size: Size): StrongView {
  const { height, width } = size;
  const chance = () => random.uniform() < 0.5;
  const upTo = (most: number) => random.uniform(-most, most);
  const operations: ViewOperation[] = [];
  if (chance()) operations.push({ kind: "flip" });
  if (chance()) operations.push({ kind: "rotate", degrees: upTo(MOST.degrees) });
  if (chance()) operations.push({ kind: "shear", x: upTo(MOST.shear), y: 0 });
  if (chance()) operations.push({ kind: "shear", x: 0, y: upTo(MOST.shear) });
  if (chance()) {
    const [x, y] = [upTo(MOST.translation) * width, upTo(MOST.translation) * height];
    operations.push({ kind: "translate", x, y });
  }
  if (chance()) operations.push({ kind: "scale", factor: Math.exp(upTo(MOST.scale)) });
  if (chance()) {
    const side = Math.max(1, Math.round(Math.min(height, width) / 3));
    const left = random.below(width - side + 1);
    const top = random.below(height - side + 1);
    operations.push({ kind: "cutout", left, top, height: side, width: side });
  }
  const colours: ColourMatrix[] = [];
  if (chance()) colours.push(brightness(1 + upTo(MOST.brightness)));
  if (chance()) colours.push(contrast(1 + upTo(MOST.contrast)));
  if (chance()) colours.push(saturation(1 + upTo(MOST.saturation)));
  if (chance()) colours.push(hue(upTo(MOST.hueDegrees)));
  return {
    transform: new ViewTransform(size, operations),
    colour: colours.reduce((before, next) => composeColours(next, before), brightness(1)),
  };
}
