// From decoded samples to the batches that stages take: random views, cut on the GPU.

import type { AnyArray, Gpu, GpuArray } from "../kernels/runtime/mod.ts";
import { packImages, packLabels, warpImages, warpLabels, warpMaps } from "../kernels/warp.ts";
import { Random } from "../nn/random.ts";
import type { Loader, Sample } from "./loader.ts";
import { quarter, type SoftLabels } from "./soft_labels.ts";
import type { DenoiseBatch } from "./stages/denoise.ts";
import type { SourceOnlyBatch } from "./stages/source_only.ts";
import type { SourceBatch } from "./stages/stage.ts";
import type { WarmUpBatch } from "./stages/warm_up.ts";
import { strongView, type ViewTransform, weakView, type WeakViewOptions } from "./views.ts";

/** How batches are cut. */
export interface BatchOptions {
  readonly gpu: Gpu;
  /** Images a domain and step. */
  readonly batch: number;
  /** Seed of the views; a view is a pure function of seed, stream and position. */
  readonly seed: number;
  /** The crop, and the range of its random scale. */
  readonly view: WeakViewOptions;
}

/** Makes batches of any stage from loaders; what `next…` returns is the caller's to release. */
export class Batches {
  readonly #options: BatchOptions;
  readonly #source: Loader;
  readonly #target: Loader | null;

  /** The loaders stay the caller's. */
  constructor(options: BatchOptions, source: Loader, target: Loader | null) {
    this.#options = options;
    this.#source = source;
    this.#target = target;
  }

  /** A batch of labelled images. */
  async nextSourceOnly(): Promise<SourceOnlyBatch> {
    return { source: await this.#nextSource() };
  }

  /** A batch of labelled source and unlabelled target images. */
  async nextWarmUp(): Promise<WarmUpBatch> {
    const source = await this.#nextSource();
    const samples = await this.#nextTarget();
    return { source, target: { images: this.#weakImages(samples, this.#weakViews(samples, "target")) } };
  }

  /** A batch of labelled source images and of target images in two views with their soft labels. */
  async nextDenoise(softLabels: SoftLabels): Promise<DenoiseBatch> {
    const source = await this.#nextSource();
    const samples = await this.#nextTarget();
    const { gpu, seed, view: { crop } } = this.#options;
    const weakViews = this.#weakViews(samples, "target");
    const weak = this.#weakImages(samples, weakViews);
    const strong = samples.map(({ position }) =>
      strongView(new Random(seed, `strong/${position}`), crop)
    );
    const strongImages = warpMaps(weak, strong.map((view) => view.imageView()), crop);
    return {
      source,
      target: {
        weak,
        strong: strongImages,
        strongViews: strong.map(({ transform }) => transform),
        softLabels: this.#softLabelsInView(softLabels, samples, weakViews),
      },
    };
  }
}
