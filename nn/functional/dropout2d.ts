// 2-D dropout.

import { dropoutFactors, type DropoutOptions } from "../../kernels/dropout2d.ts";
import { multiplyPlanes, planeSizes } from "../../kernels/plane_maps.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Zeroes whole channels of an image at random and scales the others by 1 / (1 - rate). Which ones
 * is a function of the counters: nothing is saved, and a resumed run repeats them.
 *
 * @param x [N, C, H, W].
 * @throws {RangeError} If the rate is not in [0, 1) or a counter is no 32-bit integer.
 */
export function dropout2d(x: Tensor, options: DropoutOptions): Tensor {
  const { images, channels } = planeSizes("dropout2d", x.array);
  const drop = (array: GpuArray) => {
    const factors = dropoutFactors(array.gpu, [images, channels], options);
    const dropped = multiplyPlanes(array, factors);
    factors.release();
    return dropped;
  };
  return record("dropout2d", drop(x.array), [x], [], (gradOutput) => [drop(gradOutput)]);
}
