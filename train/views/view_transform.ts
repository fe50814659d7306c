/**
 * What a view of an image is: a list of operations in the order in which they act. Whatever the
 * list, it is one affine matrix from the pixels of the view back to those of the image, so that
 * image, labels and feature maps are each sampled once, and alike.
 *
 * @module
 */
import { checkSize, type Size } from "../../kernels/planes.ts";
import { step } from "../../kernels/resize.ts";
import type { AffineMatrix, ColourMatrix, WarpView } from "../../kernels/warp.ts";

/** A rectangle of pixels. */
export interface Rectangle extends Size {
  /** Its first column. */
  readonly left: number;
  /** Its first row. */
  readonly top: number;
}

/** One step of a view, acting on what the steps before it made. Lengths are in pixels. */
export type ViewOperation =
  /** Stretches to another size, corner pixels' centres on corner pixels' centres. */
  | { readonly kind: "resize" } & Size
  /** Keeps a rectangle, which may reach outside: what is there is unseen. */
  | { readonly kind: "crop" } & Rectangle
  /** Swaps left and right. */
  | { readonly kind: "flip" }
  /** Turns clockwise about the centre. */
  | { readonly kind: "rotate"; readonly degrees: number }
  /** Moves rows right by `x`, columns down by `y`, for every pixel from the centre. */
  | { readonly kind: "shear"; readonly x: number; readonly y: number }
  /** Moves right and down. */
  | { readonly kind: "translate"; readonly x: number; readonly y: number }
  /** Enlarges about the centre, in a frame that stays. */
  | { readonly kind: "scale"; readonly factor: number }
  /** Hides a rectangle; at most once per view. */
  | { readonly kind: "cutout" } & Rectangle;

/** What unseen pixels of images hold: middle grey, as in the official code. */
export const FILL: number = 127 / 255;

const IDENTITY: AffineMatrix = [1, 0, 0, 0, 1, 0];

/**
 * An ordered record of operations on an image of one size, and the affine matrix that it amounts
 * to.
 *
 * As the image is sampled once, a step can bring back what an earlier one moved out of the frame.
 */
export class ViewTransform {
  /** Size of the image. */
  readonly inputSize: Size;
  /** Size of the view. */
  readonly outputSize: Size;
  /** The steps, in order. */
  readonly operations: readonly ViewOperation[];
  /** From a pixel of the view to its place in the image. */
  readonly matrix: AffineMatrix;
  /** From a pixel of the view to the unit square that is hidden, if any is. */
  readonly cutout: AffineMatrix | null;

  /**
   * A view of images of one size; of everything as it is unless operations are given.
   *
   * @throws {RangeError} If a size is empty, an operation has no inverse (a scale of 0), or there
   * are two cutouts.
   */
  constructor(inputSize: Size, operations: readonly ViewOperation[] = []) {
    let [size, matrix] = [inputSize, IDENTITY];
    let cutout: AffineMatrix | null = null;
    checkSize("a view", inputSize);
    for (const operation of operations) {
      if (operation.kind === "cutout") {
        if (cutout) throw new RangeError("Cannot make a view of two cutouts: leave one out");
        cutout = toUnitSquare(operation);
        continue;
      }
      const back = wayBack(operation, size);
      matrix = compose(matrix, back);
      cutout &&= compose(cutout, back);
      if (operation.kind === "resize" || operation.kind === "crop") {
        const { height, width } = operation;
        size = { height, width };
        checkSize("a view", size);
      }
    }
    if (![...matrix, ...cutout ?? []].every(Number.isFinite)) {
      throw new RangeError(
        `Cannot make a view as its operations must have finite numbers and a way back: they are ${
          JSON.stringify(operations)
        }`,
      );
    }
    this.inputSize = inputSize;
    this.outputSize = size;
    this.operations = operations;
    this.matrix = matrix;
    this.cutout = cutout;
  }

  /**
   * The view with one more step.
   *
   * @throws {RangeError} As the constructor does.
   */
  append(operation: ViewOperation): ViewTransform {
    return new ViewTransform(this.inputSize, [...this.operations, operation]);
  }

  /**
   * The matrix for maps of another scale than the image's and the view's, such as features or
   * labels: their corner pixels' centres lie on the image's, x_map = x (width_map − 1) / (width −
   * 1).
   *
   * @param inputSize Size of the map of the whole image.
   * @param outputSize Size of the map of the view.
   */
  matrixFor(inputSize: Size, outputSize: Size): AffineMatrix {
    const toMap = between(this.inputSize, inputSize);
    return compose(toMap, compose(this.matrix, between(outputSize, this.outputSize)));
  }

  /**
   * How to warp an image of the input's size to the view.
   *
   * @param fill The grey of unseen pixels.
   */
  imageView(colour: ColourMatrix | null = null, fill: number = FILL): WarpView {
    return { matrix: this.matrix, cutout: this.cutout, colour, fill };
  }

  /** How to warp a map as in {@link ViewTransform.matrixFor}; unseen pixels get 0. */
  mapView(inputSize: Size, outputSize: Size): WarpView {
    return {
      matrix: this.matrixFor(inputSize, outputSize),
      cutout: this.cutout && compose(this.cutout, between(outputSize, this.outputSize)),
    };
  }
}

/** `outer` after `inner`. */
function compose(outer: AffineMatrix, inner: AffineMatrix): AffineMatrix {
  const [a, b, c, d, e, f] = outer;
  const [g, h, i, j, k, l] = inner;
  return [
    a * g + b * j,
    a * h + b * k,
    a * i + b * l + c,
    d * g + e * j,
    d * h + e * k,
    d * i + e * l + f,
  ];
}

/** From pixels of one size to those of another, corners on corners. */
function between(from: Size, to: Size): AffineMatrix {
  return [step(to.width, from.width), 0, 0, 0, step(to.height, from.height), 0];
}

/** From pixels after an operation to pixels before it. */
function wayBack(
  operation: Exclude<ViewOperation, { kind: "cutout" }>,
  size: Size,
): AffineMatrix {
  switch (operation.kind) {
    case "resize":
      return between(operation, size);
    case "crop":
      return [1, 0, operation.left, 0, 1, operation.top];
    case "flip":
      return [-1, 0, size.width - 1, 0, 1, 0];
    case "translate":
      return [1, 0, -operation.x, 0, 1, -operation.y];
    case "scale":
      return aboutCentre(size, operation.factor, 0, 0, operation.factor);
    case "rotate": {
      const angle = (operation.degrees * Math.PI) / 180;
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      return aboutCentre(size, cos, -sin, sin, cos);
    }
    case "shear":
      return aboutCentre(size, 1, operation.x, operation.y, 1);
  }
}

/** The inverse of (x, y) → (a x + b y, c x + d y), taken about the centre. */
function aboutCentre(size: Size, a: number, b: number, c: number, d: number): AffineMatrix {
  const [x, y] = [(size.width - 1) / 2, (size.height - 1) / 2];
  const scale = 1 / (a * d - b * c);
  const [e, f, g, h] = [d * scale, -b * scale, -c * scale, a * scale];
  return [e, f, x - e * x - f * y, g, h, y - g * x - h * y];
}

/** From pixels to a rectangle's unit square, whose edges lie between pixels. */
function toUnitSquare({ left, top, width, height }: Rectangle): AffineMatrix {
  return [1 / width, 0, (0.5 - left) / width, 0, 1 / height, (0.5 - top) / height];
}
