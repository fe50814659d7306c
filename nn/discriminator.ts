// The discriminator of the adversarial warm-up.

import type { Gpu } from "../kernels/runtime/mod.ts";
import { leakyRelu, relu } from "./functional/elementwise.ts";
import { initialise } from "./init.ts";
import { chain, Conv2d, type Step } from "./layers.ts";
import { Layer } from "./module.ts";
import type { Tensor } from "./tensor.ts";

/** Shape and start of a discriminator. */
export interface DiscriminatorOptions {
  /** Channels of the input: the number of classes. */
  readonly classes: number;
  /** Channels of the first convolution (default 64); the next three double it. */
  readonly planes?: number | undefined;
  /** Seed of the starting weights (default 0). */
  readonly seed?: number | undefined;
}

/**
 * Tells by patches whether probabilities come from the source or the target (after Tsai et al.,
 * 2018): four 3×3 convolutions of stride 2, the first three with ReLU, the fourth with leaky ReLU
 * 0.2, then 1×1 to one score.
 */
export class Discriminator extends Layer {
  readonly #steps: readonly (Layer | Step)[];

  /** Registers `conv1` to `conv4` and `classifier`; weights start as PyTorch's default has them. */
  constructor(gpu: Gpu, { classes, planes = 64, seed = 0 }: DiscriminatorOptions) {
    super();
    const conv = (inputs: number, outputs: number): Conv2d =>
      new Conv2d(gpu, { inputs, outputs, kernel: 3, stride: 2, padding: 1 });
    this.#steps = [
      this.child("conv1", conv(classes, planes)),
      relu,
      this.child("conv2", conv(planes, 2 * planes)),
      relu,
      this.child("conv3", conv(2 * planes, 4 * planes)),
      relu,
      this.child("conv4", conv(4 * planes, 8 * planes)),
      (x) => leakyRelu(x, 0.2),
      this.child("classifier", new Conv2d(gpu, { inputs: 8 * planes, outputs: 1, kernel: 1 })),
    ];
    initialise(this, { seed, scheme: "pytorch" });
  }

  /** Probabilities [N, classes, H, W] → scores [N, 1, ⌈H / 16⌉, ⌈W / 16⌉]. */
  override forward(probabilities: Tensor): Tensor {
    return chain(probabilities, this.#steps);
  }
}
