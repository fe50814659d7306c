// The training of the page: a network that has learnt the source alone goes through the warm-up and through
// stage 1, as `./run train --preset quick` takes it, on streets that are drawn in memory. It knows nothing
// of pages and workers, so that tests run it anywhere.

import {
  Batches,
  classCounts,
  type DecodedItem,
  type DecodedLabel,
  DeepLab,
  Denoise,
  Discriminator,
  estimateStatistics,
  type Gpu,
  type GpuArray,
  kernels,
  labelTarget,
  type Losses,
  nextDenoiseBatch,
  nextWarmUpBatch,
  type PrototypeBank,
  RareClasses,
  releaseBatch,
  type Sample,
  SamplesInMemory,
  SoftLabelsInMemory,
  type Stage,
  streetItem,
  uploadSamples,
  uploadSoftLabels,
  WarmUp,
} from "@proda/webgpu";
import type { TrainingSettings } from "./settings.ts";

/** The stages of the page, in their order. */
export const STAGES = ["warmup", "stage1"] as const;
/** One of them. */
export type StageName = typeof STAGES[number];

/** What happens in a training. */
export type Progress =
  | { readonly kind: "drawing"; readonly done: number; readonly total: number }
  | { readonly kind: "labelling"; readonly images: number }
  | {
    readonly kind: "step";
    readonly stage: StageName;
    /** Counts the stage's steps from 1. */
    readonly step: number;
    readonly of: number;
    readonly losses: Readonly<Record<string, number>>;
  };

/** What labels the target in stage 1. */
interface Teaching {
  readonly stage: Denoise;
  readonly bank: PrototypeBank;
  readonly softLabels: SoftLabelsInMemory;
}

/**
 * A training from its first step to its last; dispose of it wherever it is.
 *
 * Beside the network that it trains it has a copy to look through, which has the batch-norm statistics of
 * target streets as soon as stage 1 asks for those: the ones that a training has gathered on the way are of
 * its strong views, and swing with every step. The program does the same when a stage is over.
 */
export class Adaptation implements Disposable {
  /** The network that is trained. */
  readonly network: DeepLab;
  /** The network to look through, as it was when it was last {@link Adaptation.show}n. */
  readonly shown: DeepLab;
  readonly #settings: TrainingSettings;
  #source: DecodedItem[] = [];
  #target: DecodedItem[] = [];
  #stage: Stage<unknown> | null = null;
  #teaching: Teaching | null = null;

  /** Starts from a copy of a network, which stays the caller's. */
  constructor(start: DeepLab, settings: TrainingSettings) {
    this.#settings = settings;
    this.network = this.#create(start.gpu, start.classes);
    this.network.loadStateDict(start.stateDict());
    this.shown = this.#create(start.gpu, start.classes);
    this.shown.loadStateDict(start.stateDict());
    this.shown.eval();
  }

  /**
   * Copies the network as it is now to the one that is looked through.
   *
   * @param images Target streets that its statistics are estimated on, from stage 1 on.
   */
  async show(images: number): Promise<void> {
    const { data: { longSide }, stages: { stage1 } } = this.#settings;
    this.shown.loadStateDict(this.network.stateDict());
    if (!this.#teaching || stage1.statistics !== "target") return;
    const some = unlabelled(this.#target.slice(0, images));
    await estimateStatistics(this.shown, new SamplesInMemory(some, "sequential"), longSide);
  }

  /** The target images that it learns from; their labels are for those who measure, not for it. */
  get target(): readonly DecodedItem[] {
    return this.#target;
  }

  /** Goes through the stages, a step each time that it is asked. */
  async *run(): AsyncGenerator<Progress> {
    yield* this.#draw();
    yield* this.#train("warmup", this.#warmUp(), nextWarmUpBatch);
    const { targetTrain } = this.#settings.data.streets;
    yield { kind: "labelling", images: targetTrain };
    const teaching = await this.#label();
    const { stage1 } = this.#settings.stages;
    this.#teaching = teaching;
    yield* this.#train(
      "stage1",
      teaching.stage,
      (batches) => nextDenoiseBatch(batches, teaching.softLabels, stage1),
    );
  }

  /** Draws the images of both domains: no file is read. */
  async *#draw(): AsyncGenerator<Progress> {
    const { seed, width, height, sourceTrain, targetTrain } = this.#settings.data.streets;
    const total = sourceTrain + targetTrain;
    for (let done = 0; done < total; done++) {
      const isSource = done < sourceTrain;
      const index = isSource ? done : done - sourceTrain;
      const domain = isSource ? "source" : "target";
      const item = streetItem({ seed, domain, split: "train", index, width, height });
      (isSource ? this.#source : this.#target).push(item);
      if (done % 10 === 9 || done === total - 1) {
        yield { kind: "drawing", done: done + 1, total };
      }
    }
  }

  #warmUp(): WarmUp {
    const { seed, stages: { warmup } } = this.#settings;
    const { gpu, classes } = this.network;
    const planes = warmup.discriminatorPlanes;
    const discriminator = new Discriminator(gpu, { classes, planes, seed });
    return new WarmUp(this.network, discriminator, { ...warmup, seed });
  }

  /** What stage 1 starts from: the warm-up model's soft labels and prototypes of the target (eq. 4). */
  async #label(): Promise<Teaching> {
    const { seed, data: { longSide }, stages: { stage1 } } = this.#settings;
    const { network } = this;
    const images = new SamplesInMemory(unlabelled(this.#target), "sequential");
    if (stage1.statistics === "target") {
      await estimateStatistics(network, images, longSide);
    }
    const softLabels = new SoftLabelsInMemory();
    const bank = await labelTarget(network, images, softLabels, {
      startVariant: stage1.prototypeStart,
      updateVariant: stage1.prototypeUpdate,
      padding: stage1.padding,
      longSide,
    });
    const encoder = this.#create(network.gpu, network.classes);
    encoder.loadStateDict(network.stateDict());
    const stage = new Denoise(network, encoder, bank, { ...stage1, seed });
    return { stage, bank, softLabels };
  }

  async *#train<B>(
    name: StageName,
    stage: Stage<B>,
    nextBatch: (batches: Batches) => Promise<B>,
  ): AsyncGenerator<Progress> {
    this.#stage?.[Symbol.dispose]();
    this.#stage = stage as Stage<unknown>;
    const batches = this.#batches(name);
    const { steps } = this.#settings.stages[name];
    for (let step = 0; step < steps; step++) {
      const batch = await nextBatch(batches);
      const losses = stage.step(batch, step);
      releaseBatch(batch);
      yield { kind: "step", stage: name, step: step + 1, of: steps, losses: await numbers(losses) };
    }
  }

  #batches(stage: StageName): Batches {
    const { seed, data } = this.#settings;
    const { batch, longSide, scales, flip, middle, sourceColours, rareClassSampling } = data;
    const crop = { height: data.cropHeight, width: data.cropWidth };
    const { gpu, classes } = this.network;
    const counts = this.#source.map(({ label }) => classCounts(label as DecodedLabel, classes));
    const draws = new RareClasses(counts, { temperature: rareClassSampling, crop, longSide });
    const view = { crop, longSide, scales, flip };
    return new Batches(
      { seed, stage, view, gpu, batch, classes, middle, sourceColours },
      new SamplesInMemory(this.#source, { seed, stream: `${stage}/source`, draws }),
      new SamplesInMemory(unlabelled(this.#target), { seed, stream: `${stage}/target` }),
    );
  }

  /**
   * Labels of target images as stage 1 now makes them (eq. 2), [N, h, w]; null before it has begun.
   *
   * @param indices Of the images among {@link Adaptation.target}.
   */
  denoised(indices: readonly number[]): Promise<Uint32Array> | null {
    if (!this.#teaching) return null;
    const { stage, softLabels } = this.#teaching;
    const { gpu } = this.network;
    const samples = indices.map((index) => this.#sample(index));
    const { images } = uploadSamples(gpu, samples, this.#settings.data.longSide);
    using probabilities = uploadSoftLabels(gpu, softLabels, samples);
    return this.#read(images, stage.denoise(images, probabilities));
  }

  /** The most likely classes of the fixed soft labels, before any denoising, [N, h, w]. */
  pseudo(indices: readonly number[]): Promise<Uint32Array> | null {
    if (!this.#teaching) return null;
    const { gpu } = this.network;
    const samples = indices.map((index) => this.#sample(index));
    using probabilities = uploadSoftLabels(gpu, this.#teaching.softLabels, samples);
    const { labels, confidence } = kernels.argmax(probabilities);
    confidence.release();
    return this.#read(null, labels);
  }

  async #read(images: GpuArray | null, labels: GpuArray<"u32">): Promise<Uint32Array> {
    images?.release();
    const { width, height } = this.#settings.data.streets;
    const whole = kernels.resizeLabels(labels, { height, width });
    labels.release();
    try {
      return await whole.read();
    } finally {
      whole.release();
    }
  }

  #sample(index: number): Sample {
    const item = this.#target[index] as DecodedItem;
    return { ...item, label: null, name: String(index), index, epoch: 0, position: index };
  }

  #create(gpu: Gpu, classes: number): DeepLab {
    return new DeepLab(gpu, { ...this.#settings.network, classes, init: "none" });
  }

  /** Frees all that it holds on the GPU. */
  [Symbol.dispose](): void {
    this.#stage?.[Symbol.dispose](); // with it the encoder and the prototypes
    this.network.dispose();
    this.shown.dispose();
  }
}

function unlabelled(items: readonly DecodedItem[]): DecodedItem[] {
  return items.map(({ image }) => ({ image, label: null }));
}

/** The losses of a step, once the GPU has made it. */
async function numbers(losses: Losses): Promise<Record<string, number>> {
  const arrays = Object.values(losses);
  const values = await (arrays[0] as GpuArray).gpu.readAll(arrays);
  releaseBatch(losses);
  return Object.fromEntries(Object.keys(losses).map((name, at) => [name, values[at]?.[0] ?? NaN]));
}
