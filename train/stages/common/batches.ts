// From decoded samples to the batches that stages take: random views, cut on the GPU.

import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import {
  packImages,
  packLabels,
  warpImages,
  warpLabelMaps,
  warpLabels,
  warpMaps,
} from "../../../kernels/warp.ts";
import type { Random } from "../../../nn/random.ts";
import { contrastPair } from "../self_supervised/contrast_views.ts";
import type { RgbImage } from "../../images/rgb.ts";
import type { Loader, Sample } from "../../data/loader.ts";
import { quarterOf, type SoftLabels } from "../denoise/soft_labels.ts";
import type { DenoiseBatch } from "../denoise/denoise.ts";
import type { DistilBatch } from "../distil/distil.ts";
import type { ContrastBatch, ContrastViews } from "../self_supervised/self_supervised.ts";
import type { SourceOnlyBatch } from "../source_only/source_only.ts";
import type { SourceBatch } from "./stage.ts";
import type { WarmUpBatch } from "../warm_up/warm_up.ts";
import {
  drawTargetViews,
  randomOf,
  type TargetPixels,
  type ViewOptions,
} from "../../views/target_views.ts";
import { fullView, strongView, type ViewTransform, weakView } from "../../views/views.ts";

/** How batches are cut. */
export interface BatchOptions extends ViewOptions {
  readonly gpu: Gpu;
  /** Images a domain and step. */
  readonly batch: number;
}

/** Makes batches of any stage from loaders; what `next…` returns is the caller's to release. */
export class Batches {
  readonly #options: BatchOptions;
  readonly #source: Loader;
  readonly #target: Loader;

  /** The loaders stay the caller's; the target's does not start before a batch needs it. */
  constructor(options: BatchOptions, source: Loader, target: Loader) {
    this.#options = options;
    this.#source = source;
    this.#target = target;
  }

  /** Milliseconds that batches have waited for pixels so far. */
  get waited(): number {
    return this.#source.waited + this.#target.waited;
  }

  /** A batch of labelled images. */
  async nextSourceOnly(): Promise<SourceOnlyBatch> {
    return { source: await this.#nextSource() };
  }

  /** A batch of labelled source and unlabelled target images. */
  async nextWarmUp(): Promise<WarmUpBatch> {
    const source = await this.#nextSource();
    const { images } = await this.#nextTarget();
    return { source, target: { images } };
  }

  /** A batch of labelled source images, and of target images in two views with their soft labels. */
  async nextDenoise(softLabels: SoftLabels): Promise<DenoiseBatch> {
    const source = await this.#nextSource();
    const { samples, views, images } = await this.#nextTarget();
    return {
      source,
      target: {
        weak: images,
        ...this.#strong(samples, images),
        softLabels: this.#softLabels(softLabels, samples, views),
      },
    };
  }

  /** A batch of labelled source images, and of target images in two views with their pseudo labels. */
  async nextDistil(): Promise<DistilBatch> {
    const source = await this.#nextSource();
    const { samples, views, images } = await this.#nextTarget();
    const { gpu, view: { crop } } = this.#options;
    const { strong, strongViews } = this.#strong(samples, images);
    using packed = packLabels(gpu, samples.map(labelOf));
    using weakLabels = warpLabels(packed, views.map((view) => view.imageView()), crop);
    const quarter = quarterOf(crop);
    const toQuarter = strongViews.map((view) => view.mapView(crop, quarter));
    return {
      source,
      target: {
        weak: images,
        strong,
        strongViews,
        labels: warpLabelMaps(weakLabels, toQuarter, quarter),
      },
    };
  }

  /**
   * A batch of views for contrastive pre-training, of both domains.
   *
   * @param places Places that are compared in an image; 0 compares whole images.
   */
  async nextContrast(places: number): Promise<ContrastBatch> {
    return {
      source: await this.#nextPairs(this.#source, "source", places),
      target: await this.#nextPairs(this.#target, "target", places),
    };
  }

  async #nextPairs(loader: Loader, domain: string, places: number): Promise<ContrastViews> {
    const { gpu, batch, view } = this.#options;
    const samples = await loader.next(batch);
    const images = samples.map(({ image }) => image);
    const pairs = samples.map((sample) =>
      contrastPair(this.#random(sample, domain), sample.image, view, places)
    );
    const sides = [0, 1] as const;
    const looks = sides.flatMap((side) =>
      pairs.map(({ views, colours }) => views[side].imageView(colours[side]))
    );
    using packed = packImages(gpu, [...images, ...images]);
    return {
      images: warpImages(packed, looks, view.crop),
      places: Float32Array.from(
        sides.flatMap((side) => pairs.flatMap(({ places }) => [...places[side]])),
      ),
    };
  }

  #strong(
    samples: readonly Sample[],
    images: GpuArray,
  ): { strong: GpuArray; strongViews: ViewTransform[] } {
    const { view: { crop } } = this.#options;
    if (samples.every(isRendered)) {
      return {
        strong: this.#upload(samples.map(({ pixels }) => pixels.strong)),
        strongViews: samples.map(({ position, image }) =>
          drawTargetViews(this.#options, position, image).strong.transform
        ),
      };
    }
    const drawn = samples.map((sample) => strongView(this.#random(sample, "strong"), crop));
    const views = drawn.map(({ transform, colour }) => transform.imageView(colour));
    return {
      strong: warpMaps(images, views, crop),
      strongViews: drawn.map(({ transform }) => transform),
    };
  }

  /** Views that the loader has rendered, [N, 3, H, W]. */
  #upload(images: readonly RgbImage[]): GpuArray {
    const { gpu, view: { crop } } = this.#options;
    using packed = packImages(gpu, images);
    return warpImages(packed, images.map(() => fullView(crop).imageView()), crop);
  }

  async #nextSource(): Promise<SourceBatch> {
    const { gpu, batch, view: { crop } } = this.#options;
    const samples = await this.#source.next(batch);
    const views = this.#weakViews(samples, "source").map((view) => view.imageView());
    using images = packImages(gpu, samples.map(({ image }) => image));
    using labels = packLabels(gpu, samples.map(labelOf));
    return { images: warpImages(images, views, crop), labels: warpLabels(labels, views, crop) };
  }

  async #nextTarget(): Promise<{ samples: Sample[]; views: ViewTransform[]; images: GpuArray }> {
    const { gpu, batch, view: { crop } } = this.#options;
    const samples = await this.#target.next(batch);
    const views = this.#weakViews(samples, "target");
    if (samples.every(isRendered)) {
      return { samples, views, images: this.#upload(samples.map(({ pixels }) => pixels.weak)) };
    }
    using images = packImages(gpu, samples.map(({ image }) => image));
    return {
      samples,
      views,
      images: warpImages(images, views.map((view) => view.imageView()), crop),
    };
  }

  #weakViews(samples: readonly Sample[], domain: string): ViewTransform[] {
    return samples.map((sample) =>
      weakView(this.#random(sample, domain), sample.image, this.#options.view)
    );
  }

  #random({ position }: Sample, name: string): Random {
    return randomOf(this.#options, name, position);
  }

  /** Soft labels of whole images, which may differ in size, cut to the weak views: [N, K, h, w]. */
  #softLabels(
    softLabels: SoftLabels,
    samples: readonly Sample[],
    views: readonly ViewTransform[],
  ): GpuArray {
    const { gpu, view: { crop } } = this.#options;
    const size = quarterOf(crop);
    const cuts = samples.map(({ index }, at) => {
      const { shape, data } = softLabels.read(index);
      const [, , height = 0, width = 0] = shape;
      using whole = gpu.upload(data, shape, "soft labels");
      return warpMaps(whole, [(views[at] as ViewTransform).mapView({ height, width }, size)], size);
    });
    const [, ...rest] = (cuts[0] as GpuArray).shape;
    const batch = gpu.empty([cuts.length, ...rest], "soft labels");
    cuts.forEach((cut, at) => {
      using row = batch.slice(at, 1);
      gpu.copy(cut, row);
      cut.release();
    });
    return batch;
  }
}

function labelOf({ name, label }: Sample): NonNullable<Sample["label"]> {
  if (!label) throw new TypeError(`Cannot make a labelled batch as "${name}" has no label`);
  return label;
}

function isRendered(sample: Sample): sample is Sample & { pixels: TargetPixels } {
  return sample.pixels !== undefined;
}
