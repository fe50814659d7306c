// Batches of the sizes that a run's have, with nothing in them: what a plan takes through a stage's step.

import type { Size } from "../../../kernels/planes.ts";
import type { DType, Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import { ViewTransform } from "../../views/views.ts";
import type { SourceBatch, TargetViews } from "./batch.ts";
import { quarterOf } from "./batches.ts";

/** Makes arrays for plans. */
export class PlannedBatches {
  /** Images of a domain per step. */
  readonly batch: number;
  /** Size of their views. */
  readonly crop: Size;
  readonly #gpu: Gpu;

  /** Arrays of a device. */
  constructor(gpu: Gpu, batch: number, crop: Size) {
    this.#gpu = gpu;
    this.batch = batch;
    this.crop = crop;
  }

  /** Images, [count, 3, H, W]; a batch unless given. */
  images(count: number = this.batch): GpuArray {
    return this.#gpu.empty([count, 3, this.crop.height, this.crop.width], "images");
  }

  /** Labelled images. */
  source(): SourceBatch {
    const { batch, crop: { height, width } } = this;
    const labels = this.#gpu.empty([batch, height, width], "labels", "u32");
    return { images: this.images(), labels };
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
