// The layers that networks are built from: an operation with its parameters.

import type { Gpu, GpuArray, Shape } from "../kernels/runtime/mod.ts";
import { batchNorm } from "./functional/batch_norm.ts";
import { conv2d } from "./functional/conv2d.ts";
import { dropout2d } from "./functional/dropout2d.ts";
import { groupNorm } from "./functional/group_norm.ts";
import { linear } from "./functional/linear.ts";
import { Layer, Module } from "./module.ts";
import { once } from "./recompute.ts";
import { Tensor } from "./tensor.ts";

/** A step of a chain. */
export type Step = (x: Tensor) => Tensor;

/**
 * Applies steps one after the other and disposes what lies between them, so that only what a
 * backward saved outlives the step after it. `x` itself is left alone.
 */
export function chain(x: Tensor, steps: readonly (Layer | Step)[]): Tensor {
  let value = x;
  for (const step of steps) {
    const next = step instanceof Layer ? step.forward(value) : step(value);
    if (value !== x && value !== next) value.dispose();
    value = next;
  }
  return value;
}

function trainable(gpu: Gpu, shape: Shape, label: string): Tensor {
  return new Tensor(gpu.empty(shape, label), { requiresGrad: true });
}

function filled(gpu: Gpu, size: number, value: number, label: string): GpuArray {
  return gpu.upload(new Float32Array(size).fill(value), [size], label);
}

/** Shape of a convolution. */
export interface Conv2dOptions {
  /** Channels of the input. */
  readonly inputs: number;
  /** Channels of the output. */
  readonly outputs: number;
  /** Side of the square kernel. */
  readonly kernel: number;
  /** Step of the kernel in pixels (default 1). */
  readonly stride?: number;
  /** Zeros around the input in pixels (default 0). */
  readonly padding?: number;
  /** Distance between taps in pixels (default 1). */
  readonly dilation?: number;
  /** Whether a bias per output channel is added (default true). */
  readonly bias?: boolean;
}

/** 2-D convolution of [N, inputs, H, W]; `weight` is [outputs, inputs, kernel, kernel]. */
export class Conv2d extends Layer {
  /** [outputs, inputs, kernel, kernel]. */
  readonly weight: Tensor;
  /** [outputs], or null. */
  readonly bias: Tensor | null;
  readonly #geometry: { stride: number; padding: number; dilation: number };

  /** The values are undefined until {@link initialise} or a state dict sets them. */
  constructor(gpu: Gpu, options: Conv2dOptions) {
    super();
    const { inputs, outputs, kernel, stride = 1, padding = 0, dilation = 1, bias = true } = options;
    this.weight = this.parameter(
      "weight",
      trainable(gpu, [outputs, inputs, kernel, kernel], "convolution weight"),
    );
    this.bias = bias ? this.parameter("bias", trainable(gpu, [outputs], "convolution bias")) : null;
    this.#geometry = { stride, padding, dilation };
  }

  /** [N, inputs, H, W] → [N, outputs, H', W']. */
  override forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.#geometry);
  }
}

/** Affine map of [N, inputs]; `weight` is [outputs, inputs]. */
export class Linear extends Layer {
  /** [outputs, inputs]. */
  readonly weight: Tensor;
  /** [outputs]. */
  readonly bias: Tensor;

  /** The values are undefined until {@link initialise} or a state dict sets them. */
  constructor(gpu: Gpu, inputs: number, outputs: number) {
    super();
    this.weight = this.parameter("weight", trainable(gpu, [outputs, inputs], "linear weight"));
    this.bias = this.parameter("bias", trainable(gpu, [outputs], "linear bias"));
  }

  /** [N, inputs] → [N, outputs]. */
  override forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/**
 * Batch normalisation over N, H and W: batch statistics when training, which also move the running
 * ones (variance unbiased), running statistics otherwise.
 */
export class BatchNorm2d extends Layer {
  /** [channels], starts at 1. */
  readonly weight: Tensor;
  /** [channels], starts at 0. */
  readonly bias: Tensor;
  /** [channels], starts at 0. */
  readonly runningMean: GpuArray;
  /** [channels], starts at 1. */
  readonly runningVar: GpuArray;
  /** Keeps to the running statistics in training too. */
  frozen = false;
  /** Weight of a batch in the running statistics, as in PyTorch; 0 leaves them as they are. */
  momentum: number;
  readonly #options: { eps: number; relu: boolean };

  /** `relu` applies one in the same pass. */
  constructor(
    gpu: Gpu,
    channels: number,
    { momentum = 0.1, eps = 1e-5, relu = false }: {
      readonly momentum?: number;
      readonly eps?: number;
      readonly relu?: boolean;
    } = {},
  ) {
    super();
    this.weight = this.parameter("weight", ones(gpu, channels, "batch norm weight"));
    this.bias = this.parameter("bias", zeros(gpu, channels, "batch norm bias"));
    this.runningMean = this.buffer("running_mean", gpu.zeros([channels], "running mean"));
    this.runningVar = this.buffer("running_var", filled(gpu, channels, 1, "running variance"));
    this.momentum = momentum;
    this.#options = { eps, relu };
  }

  /** [N, channels, H, W] → the same shape; `residual`, of that shape, is added before the ReLU. */
  override forward(x: Tensor, residual: Tensor | null = null): Tensor {
    const { weight, bias, momentum, runningMean, runningVar } = this;
    return batchNorm(x, { weight, bias }, { runningMean, runningVar }, {
      training: this.training && !this.frozen,
      momentum,
      residual,
      ...this.#options,
    });
  }
}

/** Group normalisation (Wu and He, 2018) of [N, channels, H, W], each image by itself. */
export class GroupNorm extends Layer {
  /** [channels], starts at 1. */
  readonly weight: Tensor;
  /** [channels], starts at 0. */
  readonly bias: Tensor;
  readonly #options: { groups: number; eps: number; relu: boolean };

  /**
   * `relu` applies one in the same pass.
   *
   * @throws {RangeError} If `groups` does not divide `channels`.
   */
  constructor(
    gpu: Gpu,
    groups: number,
    channels: number,
    { eps = 1e-5, relu = false }: { readonly eps?: number; readonly relu?: boolean } = {},
  ) {
    super();
    if (channels % groups !== 0) {
      throw new RangeError(
        `Cannot make a group norm of ${groups} groups over ${channels} channels: groups must divide channels`,
      );
    }
    this.weight = this.parameter("weight", ones(gpu, channels, "group norm weight"));
    this.bias = this.parameter("bias", zeros(gpu, channels, "group norm bias"));
    this.#options = { groups, eps, relu };
  }

  /** [N, channels, H, W] → the same shape. */
  override forward(x: Tensor): Tensor {
    return groupNorm(x, this.weight, this.bias, this.#options);
  }
}

/**
 * Zeroes whole channels of an image at random when training, and scales the others by 1/(1 − rate).
 *
 * The mask is a function of the counters set by {@link Dropout2d.setStep} and of how often the
 * layer ran since, so a resumed run repeats it and two passes of one step differ.
 */
export class Dropout2d extends Layer {
  /** Share of the channels that are zeroed. */
  readonly rate: number;
  #seed = 0;
  #step = 0;
  #passes = 0;

  /**
   * Registers nothing: what it depends on are counters.
   *
   * @throws {RangeError} If `rate` is not in [0, 1).
   */
  constructor(rate: number) {
    super();
    if (!(rate >= 0 && rate < 1)) {
      throw new RangeError(`Cannot make a dropout of rate ${rate}: it must be in [0, 1)`);
    }
    this.rate = rate;
  }

  /** Sets the counters that the masks of the following passes come from. */
  setStep(seed: number, step: number): void {
    this.#seed = seed >>> 0; // the low 32 bits count, as in `Random`
    this.#step = step;
    this.#passes = 0;
  }

  /** [N, C, H, W] → the same shape; `x` itself where nothing is dropped. */
  override forward(x: Tensor): Tensor {
    if (!this.training || this.rate === 0) return x;
    return dropout2d(x, {
      rate: this.rate,
      seed: this.#seed,
      step: this.#step,
      layer: once(() => this.#passes++),
    });
  }
}

/** Layers one after the other, named by their position; functions take a position but no name. */
export class Sequential extends Layer {
  readonly #steps: readonly (Layer | Step)[];

  /** Takes over the layers. */
  constructor(...steps: readonly (Layer | Step)[]) {
    super();
    this.#steps = steps;
    steps.forEach((step, index) => step instanceof Module && this.child(`${index}`, step));
  }

  /** Applies the layers in order. */
  override forward(x: Tensor): Tensor {
    return chain(x, this.#steps);
  }
}

/** Modules under a common name, named by their position. */
export class ModuleList<M extends Module> extends Module implements Iterable<M> {
  readonly #modules: readonly M[];

  /** Takes over the modules. */
  constructor(modules: readonly M[]) {
    super();
    this.#modules = modules;
    modules.forEach((module, index) => this.child(`${index}`, module));
  }

  /** The modules in order. */
  [Symbol.iterator](): Iterator<M> {
    return this.#modules[Symbol.iterator]();
  }
}

function ones(gpu: Gpu, size: number, label: string): Tensor {
  return new Tensor(filled(gpu, size, 1, label), { requiresGrad: true });
}

function zeros(gpu: Gpu, size: number, label: string): Tensor {
  return new Tensor(gpu.zeros([size], label), { requiresGrad: true });
}
