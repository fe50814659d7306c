/**
 * The two views of a target image, drawn and rendered. They depend on nothing but seed, stage and
 * the image's position in the stream, so that the thread which renders them and the one which moves
 * labels along with them each draw them for themselves.
 *
 * @module
 */
import type { Size } from "../../kernels/planes.ts";
import { Random } from "../../nn/random.ts";
import type { RgbImage } from "../images/rgb.ts";
import { type RandAugmentView, randAugmentView } from "./randaugment.ts";
import { renderView } from "./render_view.ts";
import { type ViewTransform, weakView, type WeakViewOptions } from "./views.ts";

/** What decides how the images of a stage are looked at. */
export interface ViewOptions {
  /** Seed of the views. */
  readonly seed: number;
  /** Tells the views of one stage from those of another. */
  readonly stage: string;
  /** The crop, and the range of its random scale. */
  readonly view: WeakViewOptions;
}

/** The stream of random numbers of one image's view. */
export function randomOf({ seed, stage }: ViewOptions, name: string, position: number): Random {
  return new Random(seed, `view/${stage}/${name}/${position}`);
}

/** The weak view of an image, and the strong view of that. */
export interface TargetViews {
  readonly weak: ViewTransform;
  readonly strong: RandAugmentView;
}

/**
 * Draws both views.
 *
 * @param position Of the sample in the stream of target images.
 * @param size Size of the image.
 */
export function drawTargetViews(options: ViewOptions, position: number, size: Size): TargetViews {
  return {
    weak: weakView(randomOf(options, "target", position), size, options.view),
    strong: randAugmentView(randomOf(options, "strong", position), options.view.crop),
  };
}

/** Both views in 8 bits, of the size of the crop. */
export interface TargetPixels {
  /** The weak view, rounded. */
  readonly weak: RgbImage;
  /** The strong view, made from the rounded weak one. */
  readonly strong: RgbImage;
}

/** Renders both views as {@link drawTargetViews} draws them. */
export function renderTargetViews(
  options: ViewOptions,
  position: number,
  image: RgbImage,
): TargetPixels {
  const { weak, strong } = drawTargetViews(options, position, image);
  const pixels = renderView(image, weak.matrix, weak.outputSize);
  return { weak: pixels, strong: strong.render(pixels) };
}
