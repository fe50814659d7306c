// Rows of several devices that work on one batch.

import { gatherRows, ownRows } from "../../kernels/peers.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * The rows of every peer, one below the other in the order of ranks; without peers the tensor itself.
 *
 * What is made of them is to be the same on all peers, such as a loss over all rows: each then has the
 * gradient to its own rows, and optimisers add up what follows from it.
 *
 * @param x [N, ...], of the same shape everywhere.
 * @param groups Into how many groups the rows fall; those of a group stay together.
 * @returns [N · peers, ...].
 */
export function gather(x: Tensor, groups = 1): Tensor {
  if (!x.gpu.peers) return x;
  return record("gather", gatherRows(x.array, groups), [x], [], (gradOutput) => [
    ownRows(gradOutput, groups),
  ]);
}
