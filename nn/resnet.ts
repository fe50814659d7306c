// The residual network below the head: bottleneck blocks, output stride 8.

import type { Gpu } from "../kernels/runtime/mod.ts";
import { maxPool2d } from "./functional/spatial.ts";
import { BatchNorm2d, chain, Conv2d, Sequential } from "./layers.ts";
import { Layer } from "./module.ts";
import { recompute } from "./recompute.ts";
import type { Tensor } from "./tensor.ts";

/** Channels that leave a block, in units of its inner channels. */
const EXPANSION = 4;

/** Stride and dilation of the four layers: output stride 8, as DeepLab has it. */
export const LAYERS = [
  { stride: 1, dilation: 1 },
  { stride: 2, dilation: 1 },
  { stride: 1, dilation: 2 },
  { stride: 1, dilation: 4 },
] as const;

/** Shape of a bottleneck block. */
export interface BottleneckOptions {
  /** Channels of the input. */
  readonly inputs: number;
  /** Inner channels; the output has four times as many. */
  readonly planes: number;
  /** Stride of the first 1×1, Caffe style. */
  readonly stride: number;
  /** Dilation of the 3×3. */
  readonly dilation: number;
  /** Whether the shortcut is a 1×1 convolution with a norm. */
  readonly downsample: boolean;
  /** Whether the block keeps no activations and runs again in the backward (default false). */
  readonly recompute?: boolean | undefined;
}

/** 1×1 → 3×3 → 1×1, each with a batch norm, plus the shortcut (He et al., 2016). */
export class Bottleneck extends Layer {
  readonly #body: readonly Layer[];
  readonly #lastNorm: BatchNorm2d;
  readonly #downsample: Sequential | null;
  readonly #recompute: boolean;

  /** Registers `conv1 bn1 conv2 bn2 conv3 bn3` and, if asked for, `downsample.0 downsample.1`. */
  constructor(gpu: Gpu, options: BottleneckOptions) {
    super();
    const { inputs, planes, stride, dilation, downsample } = options;
    this.#recompute = options.recompute ?? false;
    const outputs = EXPANSION * planes;
    const conv = (options: ConstructorParameters<typeof Conv2d>[1]): Conv2d =>
      new Conv2d(gpu, { ...options, bias: false });
    this.#body = [
      this.child("conv1", conv({ inputs, outputs: planes, kernel: 1, stride })),
      this.child("bn1", new BatchNorm2d(gpu, planes, { relu: true })),
      this.child(
        "conv2",
        conv({ inputs: planes, outputs: planes, kernel: 3, padding: dilation, dilation }),
      ),
      this.child("bn2", new BatchNorm2d(gpu, planes, { relu: true })),
      this.child("conv3", conv({ inputs: planes, outputs, kernel: 1 })),
    ];
    this.#lastNorm = this.child("bn3", new BatchNorm2d(gpu, outputs, { relu: true }));
    this.#downsample = downsample
      ? this.child(
        "downsample",
        new Sequential(conv({ inputs, outputs, kernel: 1, stride }), new BatchNorm2d(gpu, outputs)),
      )
      : null;
  }

  /** [N, inputs, H, W] → [N, 4 planes, ⌈H / stride⌉, ⌈W / stride⌉]. */
  override forward(x: Tensor): Tensor {
    return this.#recompute ? recompute([x], (x) => this.#run(x)) : this.#run(x);
  }

  #run(x: Tensor): Tensor {
    const shortcut = this.#downsample?.forward(x) ?? x;
    return chain(x, [
      ...this.#body,
      (body) => {
        const output = this.#lastNorm.forward(body, shortcut);
        if (shortcut !== x) shortcut.dispose();
        return output;
      },
    ]);
  }
}

/** Shape of the backbone. */
export interface ResNetOptions {
  /** Blocks of the four layers; ResNet-101 is [3, 4, 23, 3]. */
  readonly blocks: readonly number[];
  /** Channels of the stem; the official width is 64. */
  readonly width: number;
  /** Whether blocks keep no activations and run again in the backward (default false). */
  readonly recompute?: boolean | undefined;
}

/**
 * ResNet with dilated last layers: stem 7×7 stride 2, max pool 3×3 stride 2 in ceil mode, `layer1`
 * to `layer4` with output stride 8. Every layer's first block has a downsample path.
 */
export class ResNet extends Layer {
  /** Channels of the output, 32 × width. */
  readonly outputs: number;
  readonly #steps: readonly (Layer | ((x: Tensor) => Tensor))[];

  /**
   * Registers `conv1`, `bn1` and `layer1` to `layer4`.
   *
   * @throws {RangeError} If there are not four positive block counts, or no width.
   */
  constructor(gpu: Gpu, { blocks, width, recompute }: ResNetOptions) {
    super();
    if (blocks.length !== LAYERS.length || !blocks.every(isPositiveInteger)) {
      throw new RangeError(
        `Cannot make a ResNet of blocks [${blocks.join(", ")}]: it takes four positive counts`,
      );
    }
    if (!isPositiveInteger(width)) {
      throw new RangeError(`Cannot make a ResNet of width ${width}: it must be a positive integer`);
    }
    const steps: (Layer | ((x: Tensor) => Tensor))[] = [
      this.child(
        "conv1",
        new Conv2d(gpu, {
          inputs: 3,
          outputs: width,
          kernel: 7,
          stride: 2,
          padding: 3,
          bias: false,
        }),
      ),
      this.child("bn1", new BatchNorm2d(gpu, width, { relu: true })),
      (x) => maxPool2d(x, { kernel: 3, stride: 2, padding: 1, ceilMode: true }),
    ];
    let inputs = width;
    LAYERS.forEach(({ stride, dilation }, index) => {
      const planes = width * 2 ** index;
      const layer = Array.from({ length: blocks[index] as number }, (_, block) => {
        const first = block === 0;
        const made = new Bottleneck(gpu, {
          inputs,
          planes,
          stride: first ? stride : 1,
          dilation,
          downsample: first,
          recompute,
        });
        inputs = EXPANSION * planes;
        return made;
      });
      steps.push(this.child(`layer${index + 1}`, new Sequential(...layer)));
    });
    this.#steps = steps;
    this.outputs = inputs;
  }

  /** [N, 3, H, W] → [N, 32 width, about H / 8, about W / 8]. */
  override forward(x: Tensor): Tensor {
    return chain(x, this.#steps);
  }
}

function isPositiveInteger(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}
