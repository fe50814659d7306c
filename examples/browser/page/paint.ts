// Pixels onto canvases: images as they are, maps of classes in their colours, confidence as lightness.

import type { Classes, ClassMap, Picture, Size } from "../protocol.ts";
import { NONE } from "./classes.ts";

/** How strongly class colours cover the image below them. */
const OPACITY = 0.62;

/** A layer to put onto a canvas. */
export type Layer = OffscreenCanvas;

/** An image as a layer. */
export function imageLayer({ data, width, height }: Picture): Layer {
  return layer({ width, height }, (pixels) => {
    for (let at = 0, from = 0; at < pixels.length; at += 4, from += 3) {
      pixels[at] = data[from];
      pixels[at + 1] = data[from + 1];
      pixels[at + 2] = data[from + 2];
      pixels[at + 3] = 255;
    }
  });
}

/** Classes in their colours. */
export function classLayer(
  { labels, width, height }: Pick<ClassMap, "labels" | keyof Size>,
  { palette }: Classes,
): Layer {
  return layer({ width, height }, (pixels) => {
    for (let at = 0; at < labels.length; at++) {
      const [red, green, blue] = palette[labels[at]] ?? NONE;
      pixels.set([red, green, blue, 255], 4 * at);
    }
  });
}

/** How sure a map is: dark where a pixel might be of any class, light where there is no doubt. */
export function confidenceLayer({ confidence, width, height }: ClassMap): Layer {
  return layer({ width, height }, (pixels) => {
    for (let at = 0; at < confidence.length; at++) {
      const share = confidence[at] / 255;
      // From a dark blue over green to a light yellow, ever lighter.
      pixels[4 * at] = 255 * Math.min(1, 0.18 + 1.3 * share ** 3 * 0.65);
      pixels[4 * at + 1] = 255 * Math.min(1, 0.08 + 0.86 * share);
      pixels[4 * at + 2] = 255 * (0.32 + 0.24 * Math.sin(Math.PI * share));
      pixels[4 * at + 3] = 255;
    }
  });
}

function layer(
  { width, height }: Size,
  fill: (pixels: Uint8ClampedArray<ArrayBuffer>) => void,
): Layer {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser cannot draw on a canvas");
  const pixels = context.createImageData(width, height);
  fill(pixels.data);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The longest side of a canvas in its own pixels. */
const CANVAS_SIDE = 1536;

/** Makes a canvas as large as it is seen, in the shape of a picture. */
export function fitCanvas(canvas: HTMLCanvasElement, { width, height }: Size): void {
  const seen = Math.max(canvas.clientWidth * devicePixelRatio, 256);
  const side = Math.min(CANVAS_SIDE, Math.max(seen, seen * height / width));
  const factor = side / Math.max(width, height);
  const [wide, high] = [Math.round(width * factor), Math.round(height * factor)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
}

/** Draws layers over each other, each over the whole canvas. */
export function draw(
  canvas: HTMLCanvasElement,
  layers: readonly {
    readonly layer: Layer;
    readonly opacity?: number;
    readonly crisp?: boolean;
  }[],
): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  context.imageSmoothingQuality = "high";
  for (const { layer, opacity = 1, crisp = false } of layers) {
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = !crisp;
    context.drawImage(layer, 0, 0, canvas.width, canvas.height);
  }
  context.globalAlpha = 1;
}

/** Draws classes over their image. */
export function drawOver(canvas: HTMLCanvasElement, image: Layer, classes: Layer): void {
  draw(canvas, [{ layer: image }, { layer: classes, opacity: OPACITY }]);
}
