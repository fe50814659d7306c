// The shape of a DeepLab that someone else has trained, read off its weights.

import type { Shape } from "../kernels/runtime/mod.ts";
import { WeightsMismatchError } from "./formats/weights_error.ts";

/** What weights tell of the network they belong to. */
export interface DeepLabShape {
  /** Blocks of the four layers. */
  readonly blocks: readonly number[];
  /** Channels of the stem. */
  readonly width: number;
  /** Number of classes. */
  readonly classes: number;
  /** Kind of the head. */
  readonly head: "proda" | "classic";
  /** Channels of the features; ProDA head only. */
  readonly headChannels?: number;
  /** 3×3 branches of the head. What they are dilated by, no weight tells. */
  readonly branches: number;
  /** Whether `bn_pretrain` stands between backbone and head. */
  readonly featureNorm: boolean;
}

/**
 * Reads the shape of a network off the shapes of its weights. Dilations and the groups of group
 * norms leave no trace in them.
 *
 * @param shapeOf The shape of a weight by the network's name for it; undefined where there is none.
 * @throws {WeightsMismatchError} If a weight is missing that decides something.
 */
export function deepLabShape(shapeOf: (name: string) => Shape | undefined): DeepLabShape {
  const channels = (name: string): number => {
    const [outputs] = shapeOf(name) ?? [];
    if (outputs === undefined) {
      throw new WeightsMismatchError(`Cannot tell the shape of the network as ${name} is missing`);
    }
    return outputs;
  };
  const count = (name: (index: number) => string): number => {
    let index = 0;
    while (shapeOf(name(index))) index++;
    return index;
  };
  const backbone = {
    blocks: [1, 2, 3, 4].map((layer) => count((block) => `layer${layer}.${block}.conv1.weight`)),
    width: channels("conv1.weight"),
    featureNorm: shapeOf("bn_pretrain.weight") !== undefined,
  };
  const branch = (index: number) => `layer5.conv2d_list.${index}`;
  if (shapeOf("layer5.head.1.weight")) {
    return {
      ...backbone,
      head: "proda",
      classes: channels("layer5.head.1.weight"),
      headChannels: channels(`${branch(0)}.0.weight`),
      branches: count((index) => `${branch(index)}.0.weight`) - 1, // the first is 1×1
    };
  }
  return {
    ...backbone,
    head: "classic",
    classes: channels(`${branch(0)}.weight`),
    branches: count((index) => `${branch(index)}.weight`),
  };
}
