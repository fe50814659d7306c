// From decoded samples to what batches are made of: random views, cut on the GPU.

import type { Gpu, GpuArray } from "../../../kernels/runtime/mod.ts";
import {
  type Packed,
  packImages,
  packLabels,
  warpImages,
  warpLabels,
  warpMaps,
  type WarpView,
} from "../../../kernels/warp.ts";
import type { Size } from "../../../kernels/planes.ts";
import type { Random } from "../../../nn/random.ts";
import type { Sample, SampleStream } from "../../data/samples.ts";
import { viewThatShows } from "../../data/wanted_view.ts";
import { colourStatistics, meanOf, type RgbImage } from "../../images/rgb.ts";
import { transferColours } from "../../views/colour.ts";
import {
  drawTargetViews,
  randomOf,
  type TargetPixels,
  type ViewOptions,
} from "../../views/target_views.ts";
import { fullView, strongView, type ViewTransform, weakView } from "../../views/views.ts";
import type { SourceBatch, TargetViews } from "./batch.ts";
import { thinned } from "./thinned_labels.ts";

/** Weak views of target images, and what they were cut from. */
export interface WeakViews {
  /** The whole images. */
  readonly samples: readonly Sample[];
  /** Where the pixels of each view lie in its image. */
  readonly views: readonly ViewTransform[];
  /** [N, 3, H, W]. */
  readonly images: GpuArray;
}

/** How batches are cut. */
export interface BatchOptions extends ViewOptions {
  /** Where batches are made. */
  readonly gpu: Gpu;
  /** Images of a domain per step, without those of peers. */
  readonly batch: number;
  /** K, to find labels that are none of the classes; they are not looked for unless given. */
  readonly classes?: number;
  /** `data.middle`; `grey` unless given. */
  readonly middle?: "grey" | "image";
  /** `data.sourceColours`; `own` unless given. */
  readonly sourceColours?: "own" | "target";
}

/** How source images are cut beside what all views share. */
export interface SourceOptions {
  /** Target images of the same step, whose colours they may be given. */
  readonly beside?: readonly Sample[];
  /** How much labels of frequent classes are thinned out, 0 to 1, by the place of the step's first in the stream. */
  readonly thinning?: ((position: number) => number) | undefined;
}

/** Where images come from. */
export type Domain = "source" | "target";

/** Makes what batches consist of from loaders; what `next…` returns is the caller's to release. */
export class Batches {
  /** How they are cut. */
  readonly options: BatchOptions;
  readonly #loaders: Readonly<Record<Domain, SampleStream>>;

  /** The loaders stay the caller's; the target's does not start before a batch needs it. */
  constructor(options: BatchOptions, source: SampleStream, target: SampleStream) {
    this.options = options;
    this.#loaders = { source, target };
  }

  /** Milliseconds that batches have waited for pixels so far. */
  get waited(): number {
    return this.#loaders.source.waited + this.#loaders.target.waited;
  }

  /** The labels of samples. @throws {RangeError} If one is none of the classes. */
  packLabels(samples: readonly Sample[]): Packed<1> {
    const { gpu, classes } = this.options;
    return packLabels(gpu, samples.map(labelOf), classes === undefined ? undefined : { classes });
  }

  /** Whole images of a domain, as many as a batch has. */
  nextSamples(domain: Domain): Promise<Sample[]> {
    return this.#loaders[domain].next(this.options.batch);
  }

  /** Random numbers for a sample, a stream of its own for each name. */
  random({ position }: Sample, name: string): Random {
    return randomOf(this.options, name, position);
  }

  /**
   * Labelled source images in random views.
   *
   * @param options.beside Target images of the same step, whose colours they are given in turn where
   * `sourceColours` wants that.
   * @param options.thinning How much labels of frequent classes are thinned out, 0 to 1, see `thinned`; by
   * the place of the step's first in the stream. Not at all unless given.
   */
  async nextSource({ beside = [], thinning }: SourceOptions = {}): Promise<SourceBatch> {
    const { gpu, view: { crop }, sourceColours } = this.options;
    const samples = await this.nextSamples("source");
    const { position } = samples[0];
    const whole = this.options.batch * (gpu.peers?.size ?? 1);
    const strength = thinning?.(position - position % whole) ?? 0;
    const labelled = strength > 0
      ? thinned(samples, strength, (sample) => this.random(sample, "thinning"))
      : samples;
    const weak = this.#weakViews(samples, "source");
    const views = sourceColours === "target" && beside.length > 0
      ? weak.map((view, index) => this.#lookAs(beside[index % beside.length], samples[index], view))
      : this.#looks(samples, weak);
    using images = packImages(gpu, samples.map(({ image }) => image));
    using labels = this.packLabels(labelled);
    return { images: warpImages(images, views, crop), labels: warpLabels(labels, views, crop) };
  }

  /** Target images in weak views. */
  async nextTarget(): Promise<WeakViews> {
    const { gpu, view: { crop } } = this.options;
    const samples = await this.nextSamples("target");
    const views = this.#weakViews(samples, "target");
    if (samples.every(isRendered)) {
      return { samples, views, images: this.#upload(samples.map(({ pixels }) => pixels.weak)) };
    }
    using images = packImages(gpu, samples.map(({ image }) => image));
    return { samples, views, images: warpImages(images, this.#looks(samples, views), crop) };
  }

  /** The strong views of target images too; takes the weak views over. */
  withStrong({ samples, images: weak }: WeakViews): TargetViews {
    const { view: { crop } } = this.options;
    if (samples.every(isRendered)) {
      return {
        weak,
        strong: this.#upload(samples.map(({ pixels }) => pixels.strong)),
        strongViews: samples.map(({ position, image }) =>
          drawTargetViews(this.options, position, image).strong.transform
        ),
      };
    }
    const drawn = this.#strongViews(samples);
    return {
      weak,
      strong: warpMaps(weak, drawn.map(({ look }) => look), crop),
      strongViews: drawn.map(({ transform }) => transform),
    };
  }

  /**
   * The same strong views as {@link Batches.withStrong} makes, of other images than the weak views, such as
   * mixed ones, [N, 3, H, W]. Where the loader renders views, this waits for the images and renders them
   * here.
   */
  async strongOf({ samples }: Pick<WeakViews, "samples">, images: GpuArray): Promise<GpuArray> {
    const { view: { crop } } = this.options;
    if (!samples.every(isRendered)) {
      return warpMaps(images, this.#strongViews(samples).map(({ look }) => look), crop);
    }
    const values = await images.read();
    const length = values.length / samples.length;
    return this.#upload(samples.map(({ position, image }, at) => {
      const pixels = bytesOf(values.subarray(at * length, (at + 1) * length), crop);
      return drawTargetViews(this.options, position, image).strong.render(pixels);
    }));
  }

  /** The strong views of samples, and how weak ones are warped to them. */
  #strongViews(samples: readonly Sample[]): { transform: ViewTransform; look: WarpView }[] {
    return samples.map((sample) => {
      const middle = this.#middleOf(sample);
      const random = this.random(sample, "strong");
      const { transform, colour } = strongView(random, this.options.view.crop, middle);
      return { transform, look: transform.imageView(colour, middle) };
    });
  }

  /** Views that the loader has rendered, [N, 3, H, W]. */
  #upload(images: readonly RgbImage[]): GpuArray {
    const { gpu, view: { crop } } = this.options;
    using packed = packImages(gpu, images);
    return warpImages(packed, images.map(() => fullView(crop).imageView()), crop);
  }

  /** How images are cut to views. */
  #looks(samples: readonly Sample[], views: readonly ViewTransform[]): WarpView[] {
    return views.map((view, index) => view.imageView(null, this.#middleOf(samples[index])));
  }

  /** How an image is cut to a view in the colours of another. */
  #lookAs(other: Sample, { image }: Sample, view: ViewTransform): WarpView {
    const colour = transferColours(colourStatistics(image), colourStatistics(other.image));
    return view.imageView(colour, this.#middleOf(other));
  }

  /** What views of an image take for its middle, where that is not the same for all. */
  #middleOf({ image }: Sample): number | undefined {
    return this.options.middle === "image" ? meanOf(image) : undefined;
  }

  #weakViews(samples: readonly Sample[], domain: string): ViewTransform[] {
    return samples.map((sample) => {
      const { image, label, wanted } = sample;
      const draw = (trial: number) => {
        const stream = trial === 0 ? domain : `${domain}/${trial}`;
        return weakView(this.random(sample, stream), image, this.options.view);
      };
      return label && wanted ? viewThatShows(wanted, label, draw) : draw(0);
    });
  }
}

/** The label of a sample. */
function labelOf({ name, label }: Sample): NonNullable<Sample["label"]> {
  if (!label) throw new TypeError(`Cannot make a labelled batch as "${name}" has no label`);
  return label;
}

/** An image [3, H, W] in whole numbers, pixel by pixel. */
function bytesOf(values: Float32Array, { height, width }: Size): RgbImage {
  const plane = height * width;
  const data = Uint8Array.from(
    { length: 3 * plane },
    (_, i) => Math.round(255 * (values[i % 3 * plane + Math.floor(i / 3)] as number)),
  );
  return { data, height, width };
}

function isRendered(sample: Sample): sample is Sample & { pixels: TargetPixels } {
  return sample.pixels !== undefined;
}
