// Distances of features to prototypes.

import {
  prototypeDistancesBackward,
  prototypeDistancesForward,
} from "../../kernels/prototype_distances.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Euclidean distance ‖f − η_k‖₂ of every pixel's feature to every prototype (ProDA, equations 3, 7
 * and 8), [N, K, H, W]. The gradient goes to the features; a distance of 0 passes none.
 *
 * @param features [N, C, H, W].
 * @param prototypes [K, C], constant.
 * @throws {TypeError} If the shapes do not fit.
 */
export function prototypeDistances(features: Tensor, prototypes: GpuArray): Tensor {
  const distances = prototypeDistancesForward(features.array, prototypes);
  return record(
    "prototype_distances",
    distances,
    [features],
    [features.array, prototypes, distances],
    (gradOutput) => [
      prototypeDistancesBackward(gradOutput, features.array, prototypes, distances),
    ],
  );
}
