// Starting values of weights.

import { BatchNorm2d, Conv2d, GroupNorm, Linear } from "./layers.ts";
import type { Module } from "./module.ts";
import { Random } from "./random.ts";
import type { Tensor } from "./tensor.ts";

/**
 * A way to draw starting weights; norms always start at weight 1 and bias 0.
 *
 * - `he`: normal with variance 2 / fan-in (He et al., 2015), biases 0, and the convolution that
 *   makes the logits normal with deviation 0.01. For training from nothing.
 * - `official`: what ProDA's released code does: every convolution normal with deviation 0.01,
 *   linear layers and biases uniform within 1 / √fan-in, the bias of the head's bottleneck 0. It
 *   counts on a pretrained backbone.
 * - `pytorch`: PyTorch's default for both, uniform within 1 / √fan-in.
 */
export type InitScheme = "he" | "official" | "pytorch";

/** How to draw one array. */
type Draw = (random: Random) => number;

// The convolutions that make logits: of the ProDA head, and of the classic one.
const CLASSIFIER = /(^|\.)(head\.1|conv2d_list\.\d+)$/;
const BOTTLENECK = /(^|\.)bottleneck\.1$/;

const zero: Draw = () => 0;
const normal = (deviation: number): Draw => (random) => deviation * random.normal();
const uniform = (bound: number): Draw => (random) => random.uniform(-bound, bound);

/**
 * Draws the weights of every convolution and linear layer of a tree and resets its norms. Each
 * array has its own stream of (seed, name), so equal parts of different networks start alike.
 */
export function initialise(
  root: Module,
  options: { readonly seed: number; readonly scheme: InitScheme },
): void {
  for (const [name, module] of root.namedModules()) {
    if (module instanceof Conv2d || module instanceof Linear) {
      const draws = drawsOf(options.scheme, name, module);
      fill(module.weight, draws.weight, new Random(options.seed, `${name}.weight`));
      if (module.bias) fill(module.bias, draws.bias, new Random(options.seed, `${name}.bias`));
    } else if (module instanceof BatchNorm2d || module instanceof GroupNorm) {
      set(module.weight, 1);
      set(module.bias, 0);
    }
  }
}

function drawsOf(
  scheme: InitScheme,
  name: string,
  layer: Conv2d | Linear,
): { weight: Draw; bias: Draw } {
  const [, ...fan] = layer.weight.shape;
  const fanIn = fan.reduce((product, length) => product * length, 1);
  const bounded = uniform(1 / Math.sqrt(fanIn));
  switch (scheme) {
    case "he":
      return {
        weight: normal(CLASSIFIER.test(name) ? 0.01 : Math.sqrt(2 / fanIn)),
        bias: zero,
      };
    case "official":
      return {
        weight: layer instanceof Conv2d ? normal(0.01) : bounded,
        bias: BOTTLENECK.test(name) ? zero : bounded,
      };
    case "pytorch":
      return { weight: bounded, bias: bounded };
  }
}

function fill(target: Tensor, draw: Draw, random: Random): void {
  const values = new Float32Array(target.array.size);
  for (let index = 0; index < values.length; index++) values[index] = draw(random);
  target.gpu.write(target.array, values);
}

function set(target: Tensor, value: number): void {
  target.gpu.write(target.array, new Float32Array(target.array.size).fill(value));
}
