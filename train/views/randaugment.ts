/**
 * The published strong view: RandAugment (Cubuk et al., 2020) with the pool of FixMatch, two draws
 * out of fourteen operations, then a cutout.
 *
 * @module
 */
import type { Size } from "../../kernels/planes.ts";
import type { Random } from "../../nn/random.ts";
import type { RgbImage } from "../images/rgb.ts";
import { changeColours, type PixelOperation } from "./pixel_operations.ts";
import { FILL_BYTE, renderView } from "./render_view.ts";
import { type Rectangle, type ViewOperation, ViewTransform } from "./view_transform.ts";

/** A step of the view that moves pixels within its frame. */
export type Move = Exclude<ViewOperation, { kind: "resize" | "crop" | "cutout" }>;

/** A look at a weak view, of the same size. */
export class RandAugmentView {
  /** What is done, in order; the cutout comes last. */
  readonly operations: readonly (Move | PixelOperation)[];
  /** What is hidden in the end. */
  readonly cutout: Rectangle;
  /** Where its pixels lie in the weak view: the moves among the operations, and the cutout. */
  readonly transform: ViewTransform;

  /** A view of images of one size. */
  constructor(size: Size, operations: readonly (Move | PixelOperation)[], cutout: Rectangle) {
    this.operations = operations;
    this.cutout = cutout;
    this.transform = new ViewTransform(size, [
      ...operations.filter(isMove),
      { kind: "cutout", ...cutout },
    ]);
  }

  /**
   * The view of an image, in whole numbers after every step.
   *
   * All moves are one sampling, which takes place where the last of them stands: colours that are
   * changed later are those of the moved image, its grey border included.
   */
  render(image: RgbImage): RgbImage {
    const { matrix, outputSize } = this.transform;
    const lastMove = this.operations.findLastIndex(isMove);
    let view = image;
    for (const [index, operation] of this.operations.entries()) {
      if (!isMove(operation)) view = changeColours(view, operation);
      else if (index === lastMove) view = renderView(view, matrix, outputSize);
    }
    return cut(view, this.cutout);
  }
}

function isMove(operation: Move | PixelOperation): operation is Move {
  return ["flip", "rotate", "shear", "translate", "scale"].includes(operation.kind);
}

function cut({ data, width, height }: RgbImage, cutout: Rectangle): RgbImage {
  const left = data.slice();
  for (let row = cutout.top; row < cutout.top + cutout.height; row++) {
    const start = 3 * (row * width + cutout.left);
    left.fill(FILL_BYTE, start, start + 3 * cutout.width);
  }
  return { data: left, width, height };
}

/** At which strength an operation is done. */
interface Strength {
  /** A parameter: the strength's share of the most that there is, and a bias. */
  readonly of: (most: number, bias?: number) => number;
  /** -1 or 1. */
  readonly sign: number;
  /** Size of the view. */
  readonly size: Size;
}

const POOL = {
  autoContrast: () => [{ kind: "autoContrast" }],
  brightness: ({ of }) => [{ kind: "brightness", factor: of(0.9, 0.05) }],
  colour: ({ of }) => [{ kind: "colour", factor: of(0.9, 0.05) }],
  contrast: ({ of }) => [{ kind: "contrast", factor: of(0.9, 0.05) }],
  equalize: () => [{ kind: "equalize" }],
  identity: () => [],
  posterize: ({ of }) => [{ kind: "posterize", bits: Math.trunc(of(4)) + 4 }],
  rotate: ({ of, sign }) => [{ kind: "rotate", degrees: sign * Math.trunc(of(30)) }],
  sharpness: ({ of }) => [{ kind: "sharpness", factor: of(0.9, 0.05) }],
  // Shears keep the upper left corner where it is, as published, and not the centre.
  shearX: ({ of, sign, size }) => {
    const x = sign * of(0.3);
    return [{ kind: "shear", x, y: 0 }, { kind: "translate", x: x * size.height / 2, y: 0 }];
  },
  shearY: ({ of, sign, size }) => {
    const y = sign * of(0.3);
    return [{ kind: "shear", x: 0, y }, { kind: "translate", x: 0, y: y * size.width / 2 }];
  },
  solarize: ({ of }) => [{ kind: "solarize", threshold: 256 - Math.trunc(of(256)) }],
  translateX: ({ of, sign, size }) => [
    { kind: "translate", x: sign * Math.trunc(of(0.3) * size.width), y: 0 },
  ],
  translateY: ({ of, sign, size }) => [
    { kind: "translate", x: 0, y: sign * Math.trunc(of(0.3) * size.height) },
  ],
} as const satisfies Record<string, (strength: Strength) => (Move | PixelOperation)[]>;

/** The fourteen operations of the pool. */
export const RANDAUGMENT_POOL = Object.keys(POOL) as (keyof typeof POOL)[];

/**
 * What an operation of the pool amounts to.
 *
 * @param tenths Its strength, 1 to 9.
 * @param sign Which way it moves: 1 for right, down or clockwise, -1 for the other.
 * @param size Size of the view.
 */
export function operationsOf(
  name: keyof typeof POOL,
  tenths: number,
  sign: 1 | -1,
  size: Size,
): (Move | PixelOperation)[] {
  return POOL[name]({ of: (most, bias = 0) => tenths * most / 10 + bias, sign, size });
}

/**
 * Draws a view: perhaps a flip, then two operations of the pool, which may be the same, each at a
 * strength of one to nine tenths and each done with probability one half; last, a square of a third
 * of the short side is cut out, smaller where it would cross the right or the lower edge.
 *
 * @param size Size of the weak view.
 */
export function randAugmentView(random: Random, size: Size): RandAugmentView {
  const { height, width } = size;
  const chance = () => random.uniform() < 0.5;
  const operations: (Move | PixelOperation)[] = chance() ? [{ kind: "flip" }] : [];
  for (let draw = 0; draw < 2; draw++) {
    const name = RANDAUGMENT_POOL[random.below(RANDAUGMENT_POOL.length)];
    const tenths = 1 + random.below(9);
    const sign = chance() ? 1 : -1;
    if (chance()) operations.push(...operationsOf(name, tenths, sign, size));
  }
  const side = Math.max(1, Math.floor(Math.min(height, width) / 3));
  const from = (length: number) => Math.floor(Math.max(0, random.uniform(0, length) - side / 2));
  const [left, top] = [from(width), from(height)];
  return new RandAugmentView(size, operations, {
    left,
    top,
    width: Math.min(side, width - left),
    height: Math.min(side, height - top),
  });
}
