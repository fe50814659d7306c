// 2-D dropout.

import { dropoutFactors, type DropoutOptions } from "../../kernels/dropout2d.ts";
import { ownRows, peerCount } from "../../kernels/peers.ts";
import { multiplyPlanes, planeSizes } from "../../kernels/plane_maps.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * Zeroes whole channels of an image at random and scales the others by 1 / (1 - rate). Which ones
 * is a function of the counters, so a resumed run repeats them.
 *
 * @param x [N, C, H, W].
 * @throws {RangeError} If the rate is not in [0, 1) or a counter is no 32-bit integer.
 */
export function dropout2d(x: Tensor, options: DropoutOptions): Tensor {
  const { images, channels } = planeSizes("dropout2d", x.array);
  // Those of all peers, of which this one takes its own: whoever sees an image drops the same.
  using all = dropoutFactors(x.gpu, [peerCount(x.array) * images, channels], options);
  using factors = ownRows(all);
  const output = multiplyPlanes(x.array, factors);
  return record("dropout2d", output, [x], [factors], (gradOutput) => [
    multiplyPlanes(gradOutput, factors),
  ]);
}
