// The momentum encoder: a network that follows another one slowly.

import { lerpInPlace } from "../kernels/elementwise.ts";
import { GpuArray, sameShape } from "../kernels/runtime/mod.ts";
import type { Module } from "./module.ts";

/**
 * Moves every parameter of `target` towards that of `source`,
 * `target = decay * target + (1 - decay) * source`, and copies every buffer (ProDA, section 3.2:
 * the momentum encoder).
 *
 * @param target Changed in place; of the same structure as `source`.
 * @param decay Weights the old value.
 * @throws {TypeError} If a name of `target` is missing in `source`, or has another shape there.
 * @throws {RangeError} If `decay` is not in [0, 1].
 */
export function updateEma(target: Module, source: Module, decay: number): void {
  if (!(decay >= 0 && decay <= 1)) {
    throw new RangeError(`Cannot update a momentum encoder as its decay ${decay} is not in [0, 1]`);
  }
  const parameters = source.namedParameters();
  const own = target.namedParameters();
  const moved = [...own.values()].map(({ array }) => array);
  const followed = [...own.keys()].map((name) => found(parameters, name).array);
  using allMoved = GpuArray.spanning(moved);
  using allFollowed = GpuArray.spanning(followed);
  if (
    allMoved && allFollowed && moved.every(({ shape }, i) => sameShape(shape, followed[i].shape))
  ) {
    lerpInPlace(allMoved, allFollowed, 1 - decay);
  } else moved.forEach((array, i) => lerpInPlace(array, followed[i] as GpuArray, 1 - decay));
  const buffers = source.namedBuffers();
  for (const [name, array] of target.namedBuffers()) {
    array.gpu.copy(found(buffers, name), array);
  }
}

function found<T>(map: ReadonlyMap<string, T>, name: string): T {
  const value = map.get(name);
  if (value === undefined) {
    throw new TypeError(
      `Cannot update a momentum encoder as the network it follows has no "${name}"`,
    );
  }
  return value;
}
