// Self-supervised pre-training: SimCLR (Chen et al., 2020), of whole images or of places in them.

import { peerCount } from "../../../kernels/peers.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { dotRows, normaliseRows } from "../../../nn/functional/linear.ts";
import { ntXent } from "../../../nn/functional/losses.ts";
import { gather } from "../../../nn/functional/peers.ts";
import { globalAveragePool, samplePlanes } from "../../../nn/functional/spatial.ts";
import { ProjectionHead } from "../../../nn/heads.ts";
import { initialise } from "../../../nn/init.ts";
import { Sgd } from "../../../nn/optim.ts";
import { input, scope } from "../../../nn/tape.ts";
import type { Tensor } from "../../../nn/tensor.ts";
import { weighed } from "../common/accumulate.ts";
import {
  learningRateOf,
  type Losses,
  lossScaleFor,
  type OptimiserOptions,
  prefixed,
  type Stage,
} from "../common/stage.ts";
import type { SelfSupervisedSettings } from "./settings.ts";

/** Views of an image, whose features come one group after the other. */
const VIEWS = 2;

/** How pre-training is done: its settings, and what every stage takes. */
export type SelfSupervisedOptions =
  & OptimiserOptions
  & Readonly<Pick<SelfSupervisedSettings, "temperature" | "projectionChannels">>;

/** Two views of every image of one domain. */
export interface ContrastViews {
  /** The first views of all images, then the second ones, [2N, 3, H, W]. */
  readonly images: GpuArray;
  /**
   * Places that both views of an image see, [2N, P, 2]: column and row in pixels of the view. None, to
   * compare whole images.
   */
  readonly places: Float32Array;
}

/** What a step takes. */
export interface ContrastBatch {
  /** Views of source images. */
  readonly source: ContrastViews;
  /** Views of target images. */
  readonly target: ContrastViews;
}

/**
 * Trains a backbone, without labels, to tell what it sees in one view of an image in another view of it,
 * from all else that it sees in the domain. Domains are not compared: which of the two an image is from
 * would be the easiest way to tell images apart, and the last thing a network should learn here.
 */
export class SelfSupervised implements Stage<ContrastBatch> {
  /** Name in logs and results. */
  readonly name: string;
  /** The network whose backbone is trained; its head stays as it is. */
  readonly network: DeepLab;
  readonly #projection: ProjectionHead;
  readonly #optimiser: Sgd;
  readonly #options: SelfSupervisedOptions;

  /** Starts a fresh projection head and optimiser; the network stays the caller's. */
  constructor(network: DeepLab, options: SelfSupervisedOptions, name = "selfsup") {
    this.name = name;
    const { gpu, backboneChannels } = network;
    this.network = network;
    this.#options = options;
    this.#projection = new ProjectionHead(gpu, backboneChannels, options.projectionChannels);
    initialise(this.#projection, { seed: options.seed, scheme: "he" });
    this.#optimiser = new Sgd([
      { parameters: network.parameterGroups().backbone },
      {
        parameters: this.#projection.namedParameters("projection"),
        learningRateFactor: options.headFactor,
      },
    ], { ...options, lossScale: lossScaleFor(network) });
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return learningRateOf(this.#options, step);
  }

  /** One optimiser update; its losses are `source` and `target`. */
  step({ source, target }: ContrastBatch, step: number): Losses {
    this.network.train();
    const losses = { source: this.#learn(source), target: this.#learn(target) };
    this.#optimiser.step(this.learningRate(step));
    this.#optimiser.zeroGrad();
    return losses;
  }

  #learn(views: ContrastViews): GpuArray {
    return scope(() => {
      const features = this.network.extract(input(views.images));
      const rows = views.places.length > 0 ? sampled(features, views) : globalAveragePool(features);
      const projected = normaliseRows(this.#projection.forward(rows));
      const all = gather(projected, VIEWS); // each place has one partner, and all others as negatives
      const loss = ntXent(dotRows(all, all), this.#options.temperature);
      this.#optimiser.backward(loss);
      return weighed(loss, 1 / peerCount(loss.array)).array.retain();
    });
  }

  /** The arrays of the backbone (as `network.…`), the projection head and the optimiser. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...prefixed("network", this.network.backboneDict()),
      ...prefixed("projection", this.#projection.stateDict()),
      ...prefixed("optimizer", this.#optimiser.state()),
    ]);
  }

  /** Frees everything but the network. */
  [Symbol.dispose](): void {
    this.#optimiser.dispose();
    this.#projection.dispose();
  }
}

/** Features at the places, one per row, [2N P, C]. */
function sampled(features: Tensor, { images, places }: ContrastViews): Tensor {
  const [count = 0, , height = 0, width = 0] = images.shape;
  const [, , rows = 0, columns = 0] = features.shape;
  // The corners' centres of a view lie on those of its features, as everywhere.
  const scale = [(columns - 1) / Math.max(1, width - 1), (rows - 1) / Math.max(1, height - 1)];
  const onMap = places.map((value, index) => value * (scale[index % 2] as number));
  using array = features.gpu.upload(onMap, [count, places.length / 2 / count, 2], "places");
  return samplePlanes(features, array);
}
