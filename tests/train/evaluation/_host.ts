// Predictions made on the host, image by image and pixel by pixel, for measurements to be compared with.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import type { Size } from "../../../kernels/planes.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { tensor } from "../../../nn/tensor.ts";
import { type Dataset, openDataset } from "../../../train/data/dataset.ts";
import { GTA5 } from "../../../train/data/layouts.ts";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import type { RgbImage } from "../../../train/images/rgb.ts";
import { type Nd, seededRandom } from "../../_check.ts";
import { testGpu } from "../../_device.ts";
import { resizeBilinear } from "../../_reference/spatial.ts";
import { write } from "../_png.ts";

export const CLASSES = 4;
export const LONG_SIDE = 48;
/** Sizes in the order of the data set: what has one size goes through the network together. */
const [WIDE, TALL, SQUARE] = [[12, 7], [9, 13], [8, 8]] as const;
const SIZES = [WIDE, WIDE, WIDE, TALL, WIDE, SQUARE, SQUARE, WIDE, WIDE, WIDE];
/** Label ids are train ids, 4 is not predicted. */
const TRAIN_IDS = [0, 1, 2, 3, 255];

/** Noise, labelled by noise in which no pixel is class 3. */
export function makeDataset(root: string, trainIds: readonly number[] | null = TRAIN_IDS): Dataset {
  const random = seededRandom(3);
  for (const [index, [width, height]] of SIZES.entries()) {
    const bytes = (count: number, below: number) =>
      Uint8Array.from({ length: count }, () => Math.floor(random() * below));
    const image = { data: bytes(width * height * 3, 256), width, height };
    const label = bytes(width * height, CLASSES).map((id) => id === 3 ? 4 : id);
    write(join(root, "images", `${index}.png`), encodeImage(image));
    write(join(root, "labels", `${index}.png`), encodeLabel({ data: label, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "val", trainIds });
}

export async function makeNetwork(): Promise<DeepLab> {
  return new DeepLab(await testGpu(), {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: 8,
    groups: 4,
    dilations: [1],
    dropout: 0.5,
    seed: 2,
  });
}

/** [1, 3, height, width] in 0 to 1. */
function planesOf({ data, width, height }: RgbImage): Nd {
  const plane = width * height;
  const planes = Float64Array.from(
    { length: 3 * plane },
    (_, i) => (data[i % plane * 3 + Math.floor(i / plane)] as number) / 255,
  );
  return { data: planes, shape: [1, 3, height, width] };
}

/** The image as the network sees it, [1, 3, h, w]. */
export function resizedPlanes(image: RgbImage, longSide = LONG_SIDE): Nd {
  const { width, height } = image;
  const factor = longSide / Math.max(width, height);
  const size = { height: Math.round(height * factor), width: Math.round(width * factor) };
  return resizeBilinear(planesOf(image), size);
}

/** The class of every pixel of an image of a size. The network is in evaluation mode. */
export async function predictOnHost(
  network: DeepLab,
  { data, shape }: Nd,
  { height, width }: Size,
): Promise<Uint8Array> {
  using x = tensor(network.gpu, Float32Array.from(data), shape);
  using logits = noGrad(() => scope(() => network.forward(x).logits));
  const small = { data: Float64Array.from(await logits.read()), shape: logits.shape };
  const full = resizeBilinear(small, { height, width }).data;
  const plane = width * height;
  return Uint8Array.from({ length: plane }, (_, pixel) => {
    const scores = Array.from({ length: CLASSES }, (_, k) => full[k * plane + pixel] as number);
    const [best = 0, second = 0] = scores.toSorted((a, b) => b - a);
    assert.ok(best - second > 5e-6, "rounding may decide a pixel: choose another seed");
    return scores.indexOf(best);
  });
}
