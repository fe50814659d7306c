// What networks make of target images: the trained one of a view, the momentum encoder of weak views or of
// whole images.

import { argmax } from "../../../kernels/argmax.ts";
import type { ClassSums } from "../../../kernels/class_sums.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import type { Size } from "../../../kernels/planes.ts";
import { idsWhereLabelled } from "../../../kernels/rectification.ts";
import { type GpuArray, sameShape } from "../../../kernels/runtime/mod.ts";
import { warpMaps } from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { input } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import type { ViewTransform } from "../../views/views.ts";
import { joined, joinedRows } from "../common/accumulate.ts";
import type { TargetViews, WholeImages } from "../common/batch.ts";
import type { PrototypeBank } from "./prototypes.ts";
import type { DenoiseChoices } from "./settings.ts";

/** What a network makes of a view, at a quarter of its size. */
export interface Look {
  readonly logits: Tensor;
  readonly features: Tensor;
}

/** What the momentum encoder makes of target images, in the frame of their weak views. */
export interface Sight extends ClassSums {
  /** [N, K, H/4, W/4]. */
  readonly logits: GpuArray;
  /** [N, C, H/4, W/4]. */
  readonly features: GpuArray;
}

/** Of a batch, what the momentum encoder looks at; of the soft labels, their size and where they are none. */
interface Seen extends Pick<TargetViews, "weak"> {
  readonly softLabels: GpuArray;
  readonly whole?: WholeImages;
}

/** The weak views, and sums over them. */
export function seeWeak(
  encoder: DeepLab,
  bank: PrototypeBank,
  { weak, softLabels }: Seen,
  padding: DenoiseChoices["padding"],
): Sight {
  const { logits, features } = lookAt(encoder, weak, sizeOf(softLabels));
  using predictions = labelsOf(logits.array);
  using ids = padding === "masked"
    ? idsWhereLabelled(predictions, softLabels, IGNORE)
    : predictions.retain();
  const sums = bank.sums(features.array, ids);
  return { logits: logits.array.retain(), features: features.array.retain(), ...sums };
}

/** The whole images, those of one size at once; sums over them, and what is left in the weak views. */
export function seeWhole(
  encoder: DeepLab,
  bank: PrototypeBank,
  { weak, whole, softLabels }: Seen,
  stage: string,
): Sight {
  if (!whole) {
    throw new TypeError(
      `Cannot run ${stage} as its encoder sees whole images and the batch has none: give ` +
        "target.whole, or set encoderView to weak",
    );
  }
  const size = sizeOf(softLabels);
  const sights = groupsOfOneSize(whole).map(({ images, views }) => {
    using batch = joinedRows(images);
    // At the scale that the labels have to the weak view.
    const wholeSize = scaled(sizeOf(batch), sizeOf(weak), size);
    const { logits, features } = lookAt(encoder, batch, wholeSize);
    using predictions = labelsOf(logits.array);
    const toWeak = views.map((view) => view.mapView(wholeSize, size));
    return {
      logits: warpMaps(logits.array, toWeak, size),
      features: warpMaps(features.array, toWeak, size),
      ...bank.sums(features.array, predictions),
    };
  });
  return joined(sights);
}

/** Runs a network and resizes what it says. */
export function lookAt(network: DeepLab, images: GpuArray, size: Size): Look {
  const { features, logits } = network.forward(input(images));
  return { features: resizeBilinear(features, size), logits: resizeBilinear(logits, size) };
}

/** Height and width of maps. */
export function sizeOf({ shape: [, , height = 0, width = 0] }: GpuArray): Size {
  return { height, width };
}

/** A size times the ratio of two others; at least one pixel. */
function scaled({ height, width }: Size, from: Size, to: Size): Size {
  return {
    height: Math.max(1, Math.floor(height * to.height / from.height)),
    width: Math.max(1, Math.floor(width * to.width / from.width)),
  };
}

/** The most likely classes, [N, H, W]. */
export function labelsOf(logits: GpuArray): GpuArray<"u32"> {
  const { labels, confidence } = argmax(logits);
  confidence.release();
  return labels;
}

/** Neighbours of one size together, in order. */
function groupsOfOneSize({ images, views }: WholeImages): {
  readonly images: GpuArray[];
  readonly views: ViewTransform[];
}[] {
  const groups: { images: GpuArray[]; views: ViewTransform[] }[] = [];
  images.forEach((image, index) => {
    const last = groups.at(-1);
    const fits = last && sameShape(last.images[0].shape, image.shape);
    const group = fits ? last : { images: [], views: [] };
    if (!fits) groups.push(group);
    group.images.push(image);
    group.views.push(views[index]);
  });
  return groups;
}
