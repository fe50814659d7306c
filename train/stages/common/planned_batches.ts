// Batches of the sizes that a run's have, with nothing in them: what a plan takes through a stage's step.

import type { Size } from "../../../kernels/planes.ts";
import type { DType, Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { ViewTransform } from "../../views/views.ts";
import type { SourceBatch, TargetViews, WholeImages } from "./batch.ts";
import { quarterOf } from "./batch.ts";

/** Makes arrays for plans. */
export class PlannedBatches {
  /** Images of a domain per step. */
  readonly batch: number;
  /** Size of their views. */
  readonly crop: Size;
  readonly #gpu: Gpu;
  readonly #whole: Size;

  /** Arrays of a device. `whole` is the size of whole images as the network sees them. */
  constructor(gpu: Gpu, batch: number, crop: Size, whole: Size) {
    this.#gpu = gpu;
    this.batch = batch;
    this.crop = crop;
    this.#whole = whole;
  }

  /** Images, [count, 3, H, W]; a batch unless given. */
  images(count: number = this.batch): GpuArray {
    return this.#gpu.empty([count, 3, this.crop.height, this.crop.width], "images");
  }

  /** Whole images, as many as a batch has. */
  whole(): WholeImages {
    const { height, width } = this.#whole;
    const each = Array.from({ length: this.batch });
    return {
      images: each.map(() => this.#gpu.empty([1, 3, height, width], "whole image")),
      views: each.map(() => new ViewTransform(this.#whole, [{ kind: "resize", ...this.crop }])),
    };
  }

  /** Labels of the size of a view, [N, H, W]. */
  labels(): GpuArray<"u32"> {
    const { batch, crop: { height, width } } = this;
    return this.#gpu.empty([batch, height, width], "labels", "u32");
  }

  /** Labelled images. */
  source(): SourceBatch {
    return { images: this.images(), labels: this.labels() };
  }

  /** Two views of target images. */
  targetViews(): TargetViews {
    return {
      weak: this.images(),
      strong: this.images(),
      strongViews: Array.from({ length: this.batch }, () => new ViewTransform(this.crop, [])),
    };
  }

  /** Maps at a quarter of the size of a view, [N, ...channels, H/4, W/4]. */
  maps<D extends DType>(label: string, dtype: D, ...channels: number[]): GpuArray<D> {
    const { height, width } = quarterOf(this.crop);
    return this.#gpu.empty([this.batch, ...channels, height, width], label, dtype);
  }
}
