// DeepLabv2: a dilated ResNet with one of two heads, under the official names.

import { type Gpu, type GpuArray, GpuError, type Precision } from "../kernels/runtime/mod.ts";
import { type ActivationStorage, storeActivations } from "./activation.ts";
import { ClassicHead, type Head, type NetworkOutput, ProdaHead } from "./heads.ts";
import { initialise, type InitScheme } from "./init.ts";
import { BatchNorm2d, Dropout2d } from "./layers.ts";
import { Module } from "./module.ts";
import { computeIn } from "./precision.ts";
import { ResNet } from "./resnet.ts";
import type { Synchronous } from "./synchronous.ts";
import type { Tensor } from "./tensor.ts";

/** Shape and start of a DeepLab. */
export interface DeepLabOptions {
  /** Blocks of the four layers (default [3, 4, 23, 3], ResNet-101). */
  readonly blocks?: readonly number[] | undefined;
  /** Channels of the stem (default 64); the backbone ends in 32 times as many. */
  readonly width?: number | undefined;
  /** Number of classes. */
  readonly classes: number;
  /** `proda` (default), or `classic` DeepLabv2. */
  readonly head?: "proda" | "classic" | undefined;
  /** Channels of the features (default 256); ProDA head only. */
  readonly headChannels?: number | undefined;
  /** Groups of the head's group norms (default 32), a divisor of `headChannels`. */
  readonly groups?: number | undefined;
  /** Dilations of the head's 3×3 branches (default 6, 12, 18, 24). */
  readonly dilations?: readonly number[] | undefined;
  /** Share of the feature channels that dropout zeroes (default 0.1); ProDA head only. */
  readonly dropout?: number | undefined;
  /** Whether a batch norm, `bn_pretrain`, stands between backbone and head (default false). */
  readonly featureNorm?: boolean | undefined;
  /**
   * Whether blocks and head keep no activations and run again in the backward (default false): the
   * same gradients to the bit, a third more time, a fraction of the memory.
   */
  readonly recompute?: boolean | undefined;
  /**
   * How blocks and head keep what the backward needs (default `f32`). `f16` halves it and rounds it
   * to 11 bits: losses stay as they are, gradients are off by about as much as they are when images
   * are rounded like that.
   */
  readonly activations?: ActivationStorage | undefined;
  /**
   * The numbers that convolutions and their gradients multiply (default `f32`). With `f16`, train by
   * the gradients of a loss that a `LossScale` scales.
   */
  readonly compute?: Precision | undefined;
  /** Seed of the starting weights (default 0). */
  readonly seed?: number | undefined;
  /**
   * How weights start (default `he`), or `none` where a state dict follows: undefined until then.
   */
  readonly init?: InitScheme | "none" | undefined;
}

/** The published network: what {@link DeepLabOptions} stand for where they say nothing. */
export const PUBLISHED = {
  blocks: [3, 4, 23, 3],
  width: 64,
  head: "proda",
  headChannels: 256,
  groups: 32,
  dilations: [6, 12, 18, 24],
  dropout: 0.1,
} as const satisfies Omit<DeepLabOptions, "classes">;

/** Parameters that share a learning rate, under their full names; each is in exactly one group. */
export interface ParameterGroups {
  /** Stem and `layer1` to `layer4`. */
  readonly backbone: ReadonlyMap<string, Tensor>;
  /** `layer5` and `bn_pretrain`, which learn ten times as fast in most stages. */
  readonly head: ReadonlyMap<string, Tensor>;
}

/**
 * DeepLabv2 for images in [0, 1], [N, 3, H, W]: output stride 8, so features and logits are about
 * H/8 × W/8. The official network is `new DeepLab(gpu, { classes: 19 })`.
 */
export class DeepLab extends Module {
  /** The device that holds the network. */
  readonly gpu: Gpu;
  /** Number of classes. */
  readonly classes: number;
  /** Channels of the features. */
  readonly featureChannels: number;
  /** Channels that leave the backbone, 32 × width. */
  readonly backboneChannels: number;
  readonly #backbone: ResNet;
  readonly #featureNorm: BatchNorm2d | null;
  readonly #head: Head;
  readonly #activations: ActivationStorage;
  /** The numbers that convolutions multiply. */
  readonly compute: Precision;

  /**
   * Makes the network, in training mode; its weights are drawn unless `init` is `none`.
   *
   * @throws {RangeError} If an option is out of range.
   */
  constructor(gpu: Gpu, options: DeepLabOptions) {
    super();
    const {
      blocks = PUBLISHED.blocks,
      width = PUBLISHED.width,
      classes,
      head = PUBLISHED.head,
      headChannels = PUBLISHED.headChannels,
      groups = PUBLISHED.groups,
      dilations = PUBLISHED.dilations,
      dropout = PUBLISHED.dropout,
      featureNorm = false,
      recompute = false,
      activations = "f32",
      compute = "f32",
      seed = 0,
      init = "he",
    } = options;
    checkOptions({ classes, headChannels, groups, dilations, dropout });
    this.gpu = gpu;
    this.#activations = activations;
    this.compute = compute;
    if (compute === "f16" && !gpu.hasHalves) {
      throw new GpuError(
        `Cannot compute in f16 on "${gpu.adapter.description}" as ${
          gpu.kernelClass === "direct"
            ? 'the direct kernels have no such arithmetic: open it with `kernels` "shared"'
            : "it has no 16-bit floats"
        }, or set \`memory.compute\` to "f32"`,
        { options: ["memory.compute", "kernels"] },
      );
    }
    this.classes = classes;
    this.#backbone = this.child("", new ResNet(gpu, { blocks, width, recompute }));
    const inputs = this.#backbone.outputs;
    this.backboneChannels = inputs;
    this.#head = this.child(
      "layer5",
      head === "proda"
        ? new ProdaHead(gpu, {
          inputs,
          classes,
          dilations,
          channels: headChannels,
          groups,
          dropout,
          recompute,
        })
        : new ClassicHead(gpu, { inputs, classes, dilations }),
    );
    this.#featureNorm = featureNorm
      ? this.child("bn_pretrain", new BatchNorm2d(gpu, inputs))
      : null;
    this.featureChannels = head === "proda" ? headChannels : inputs;
    this.joinParameters();
    if (init !== "none") initialise(this, { seed, scheme: init });
  }

  /**
   * [N, 3, H, W] → features and logits.
   *
   * @throws {TypeError} If `x` is not a batch of three-channel images.
   */
  forward(x: Tensor): NetworkOutput {
    return this.#run(() => this.#predict(this.extract(x)));
  }

  /**
   * Features and logits from what {@link DeepLab.extract} has made of images, which stays the caller's.
   * With the classic head the features are that itself.
   */
  predict(backbone: Tensor): NetworkOutput {
    return this.#run(() => this.#predict(backbone, { keep: true }));
  }

  /** Runs a part of the network, with its activations and products as the options say. */
  #run<T>(part: () => Synchronous<T>): Synchronous<T> {
    return computeIn(this.compute, () => storeActivations(this.#activations, part));
  }

  /** Features and logits from those of the backbone, which it takes over unless they are to be kept. */
  #predict(backbone: Tensor, { keep } = { keep: false }): NetworkOutput {
    if (this.#featureNorm) {
      const normal = this.#featureNorm.forward(backbone);
      if (!keep) backbone.dispose();
      [backbone, keep] = [normal, false];
    }
    const prediction = this.#head.forward(backbone);
    if (prediction.features !== backbone && !keep) backbone.dispose();
    return prediction;
  }

  /**
   * The backbone alone: [N, 3, H, W] → [N, 32 width, about H / 8, about W / 8].
   *
   * @throws {TypeError} If `x` is not a batch of three-channel images.
   */
  extract(x: Tensor): Tensor {
    if (x.shape.length !== 4 || x.shape[1] !== 3) {
      throw new TypeError(
        `Cannot run DeepLab on a tensor of shape [${x.shape.join(", ")}]: it takes [N, 3, H, W]`,
      );
    }
    return this.#run(() => this.#backbone.forward(x));
  }

  /** Every batch norm of the network. */
  batchNorms(): BatchNorm2d[] {
    return [...this.namedModules()].map(([, module]) => module)
      .filter((module) => module instanceof BatchNorm2d);
  }

  /**
   * Parameters and buffers of the backbone, under the names that they have in the whole network.
   */
  backboneDict(): Map<string, GpuArray> {
    return this.#backbone.stateDict();
  }

  /**
   * Sets the counters of dropout; call it at the start of every training step. The same counters
   * give the same masks, pass after pass.
   */
  setStep(seed: number, step: number): void {
    for (const [, module] of this.namedModules()) {
      if (module instanceof Dropout2d) module.setStep(seed, step);
    }
  }

  /** The parameters by learning rate. */
  parameterGroups(): ParameterGroups {
    const head = new Map(this.#head.namedParameters("layer5"));
    for (const [name, tensor] of this.#featureNorm?.namedParameters("bn_pretrain") ?? []) {
      head.set(name, tensor);
    }
    return { backbone: this.#backbone.namedParameters(), head };
  }
}

function checkOptions({ classes, headChannels, groups, dilations, dropout }: {
  readonly classes: number;
  readonly headChannels: number;
  readonly groups: number;
  readonly dilations: readonly number[];
  readonly dropout: number;
}): void {
  const counts = { classes, headChannels, groups };
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(
        `Cannot make a DeepLab of ${name} ${value}: it takes a positive integer`,
      );
    }
  }
  if (headChannels % groups !== 0) {
    throw new RangeError(
      `Cannot make a DeepLab of headChannels ${headChannels} and groups ${groups}: groups must divide headChannels`,
    );
  }
  if (dilations.length === 0 || !dilations.every((value) => Number.isInteger(value) && value > 0)) {
    throw new RangeError(
      `Cannot make a DeepLab of dilations [${dilations.join(", ")}]: it takes positive integers`,
    );
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new RangeError(`Cannot make a DeepLab of dropout ${dropout}: it must be in [0, 1)`);
  }
}
