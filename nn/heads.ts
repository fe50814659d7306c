// The two heads of DeepLab: the one ProDA's numbers come from, and the classic one.

import type { Gpu } from "../kernels/runtime/mod.ts";
import { add, mulChannels, relu, sigmoid } from "./functional/elementwise.ts";
import { concatChannels, globalAveragePool } from "./functional/spatial.ts";
import { chain, Conv2d, Dropout2d, GroupNorm, Linear, ModuleList, Sequential } from "./layers.ts";
import { Layer, Module } from "./module.ts";
import { recompute } from "./recompute.ts";
import type { Tensor } from "./tensor.ts";

/** What a segmentation network returns. */
export interface NetworkOutput {
  /** What prototypes live in, [N, channels, h, w]. */
  readonly features: Tensor;
  /** Scores before the softmax, [N, classes, h, w]. */
  readonly logits: Tensor;
}

/** Shape of a head. */
export interface HeadOptions {
  /** Channels that the backbone gives. */
  readonly inputs: number;
  /** Number of classes. */
  readonly classes: number;
  /** Dilations of the 3×3 branches. */
  readonly dilations: readonly number[];
  /** Whether the head keeps no activations and runs again in the backward (default false). */
  readonly recompute?: boolean | undefined;
}

/** Shape of the ProDA head. */
export interface ProdaHeadOptions extends HeadOptions {
  /** Channels of a branch and of the features. */
  readonly channels: number;
  /** Groups of the group norms. */
  readonly groups: number;
  /** Share of the feature channels that dropout zeroes. */
  readonly dropout: number;
}

/** A module that maps backbone features to a {@link NetworkOutput}. */
export abstract class Head extends Module {
  /** [N, inputs, h, w] → features and logits at the same size. */
  abstract forward(x: Tensor): NetworkOutput;
}

/** Scales channels by what their means say of each other (Hu et al., 2018). */
export class SqueezeExcite extends Layer {
  readonly #gate: Layer;

  /** Registers `se.0` and `se.2`; the hidden layer has a 16th of the channels, at least one. */
  constructor(gpu: Gpu, channels: number, reduction = 16) {
    super();
    const hidden = Math.max(1, Math.floor(channels / reduction));
    this.#gate = this.child(
      "se",
      new Sequential(
        new Linear(gpu, channels, hidden),
        relu,
        new Linear(gpu, hidden, channels),
        sigmoid,
      ),
    );
  }

  /** [N, channels, H, W] → the same shape. */
  override forward(x: Tensor): Tensor {
    const gate = chain(x, [globalAveragePool, this.#gate]);
    const scaled = mulChannels(x, gate);
    gate.dispose();
    return scaled;
  }
}

/**
 * The head of ProDA's released code: a 1×1 and dilated 3×3 branches, each with a group norm and a
 * ReLU; squeeze-excite over all of them; 3×3 to the features; 1×1 without bias to the logits.
 */
export class ProdaHead extends Head {
  readonly #branches: ModuleList<Sequential>;
  readonly #bottleneck: Sequential;
  readonly #dropout: Dropout2d;
  readonly #classifier: Conv2d;
  readonly #recompute: boolean;

  /**
   * Registers `conv2d_list`, `bottleneck` and `head`.
   *
   * @throws {RangeError} If `groups` does not divide `channels`, or dropout is not in [0, 1).
   */
  constructor(gpu: Gpu, options: ProdaHeadOptions) {
    super();
    const { inputs, classes, dilations, channels, groups, dropout } = options;
    this.#recompute = options.recompute ?? false;
    const branch = (geometry: { kernel: number; padding?: number; dilation?: number }) =>
      new Sequential(
        new Conv2d(gpu, { inputs, outputs: channels, ...geometry }),
        new GroupNorm(gpu, groups, channels, { relu: true }),
      );
    this.#branches = this.child(
      "conv2d_list",
      new ModuleList([
        branch({ kernel: 1 }),
        ...dilations.map((dilation) => branch({ kernel: 3, padding: dilation, dilation })),
      ]),
    );
    const total = channels * (1 + dilations.length);
    this.#bottleneck = this.child(
      "bottleneck",
      new Sequential(
        new SqueezeExcite(gpu, total),
        new Conv2d(gpu, { inputs: total, outputs: channels, kernel: 3, padding: 1 }),
        new GroupNorm(gpu, groups, channels),
      ),
    );
    this.#dropout = new Dropout2d(dropout);
    this.#classifier = new Conv2d(gpu, {
      inputs: channels,
      outputs: classes,
      kernel: 1,
      bias: false,
    });
    this.child("head", new Sequential(this.#dropout, this.#classifier));
  }

  /** [N, inputs, h, w] → features [N, channels, h, w] (after dropout) and logits. */
  override forward(x: Tensor): NetworkOutput {
    const features = this.#recompute ? recompute([x], (x) => this.#features(x)) : this.#features(x);
    return { features, logits: this.#classifier.forward(features) };
  }

  #features(x: Tensor): Tensor {
    const branches = Array.from(this.#branches, (branch) => branch.forward(x));
    const joined = concatChannels(branches);
    for (const branch of branches) branch.dispose();
    const normal = this.#bottleneck.forward(joined);
    joined.dispose();
    const features = this.#dropout.forward(normal);
    if (features !== normal) normal.dispose();
    return features;
  }
}

/**
 * Where contrastive learning compares features: linear → ReLU → linear (SimCLR, Chen et al., 2020).
 */
export class ProjectionHead extends Layer {
  readonly #layers: Sequential;

  /** Registers `0` and `2`; the hidden layer is as wide as the input. */
  constructor(gpu: Gpu, inputs: number, outputs: number) {
    super();
    this.#layers = this.child(
      "",
      new Sequential(new Linear(gpu, inputs, inputs), relu, new Linear(gpu, inputs, outputs)),
    );
  }

  /** [N, inputs] → [N, outputs]. */
  override forward(x: Tensor): Tensor {
    return this.#layers.forward(x);
  }
}

/**
 * The head of DeepLabv2 (Chen et al., 2018): dilated 3×3 convolutions to the classes, all of them
 * summed. Its features are the backbone's.
 */
export class ClassicHead extends Head {
  readonly #branches: ModuleList<Conv2d>;

  /** Registers `conv2d_list.0` and on. It has nothing to recompute: all branches read the input. */
  constructor(gpu: Gpu, { inputs, classes, dilations }: HeadOptions) {
    super();
    this.#branches = this.child(
      "conv2d_list",
      new ModuleList(
        dilations.map((dilation) =>
          new Conv2d(gpu, { inputs, outputs: classes, kernel: 3, padding: dilation, dilation })
        ),
      ),
    );
  }

  /** [N, inputs, h, w] → `x` itself as features, and logits. */
  override forward(x: Tensor): NetworkOutput {
    const logits = Array.from(this.#branches, (branch) => branch.forward(x)).reduce((a, b) => {
      const sum = add(a, b);
      a.dispose();
      b.dispose();
      return sum;
    });
    return { features: x, logits };
  }
}
