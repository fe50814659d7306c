// What convolutions compute from weights first; in the shared class from all weights of one buffer
// in one dispatch.
//
// It is kept until the buffer is written, as an optimiser does at every step. All that was asked
// for since is then computed at once, as soon as any of it is asked for again.

import { elementCount, type GpuArray, type Shape } from "../runtime/mod.ts";

/** What is computed from a weight; `S` says how in particular. */
export interface WeightComputation<S> {
  /** Unlike that of any other. */
  readonly name: string;
  /** The shape of the result. */
  shapeOf(settings: S): Shape;
  /** The result for one weight. */
  alone(weight: GpuArray, settings: S): GpuArray;
  /** Writes the results for some weights, which lie in `source`. */
  together(source: GpuArray, weights: readonly PlacedWeight<S>[], results: GpuArray): void;
}

/** Where a weight and its result lie. */
export interface PlacedWeight<S> {
  readonly settings: S;
  /** The first element of the weight in the source. */
  readonly origin: number;
  /** The first element of its result in the results. */
  readonly first: number;
  /** The shape of its result. */
  readonly shape: Shape;
}

/**
 * The result for a weight, kept until that is written.
 *
 * @param key Names the settings.
 * @returns A reference of the caller's own.
 */
export function computedFrom<S>(
  weight: GpuArray,
  computation: WeightComputation<S>,
  key: string,
  settings: S,
): GpuArray {
  const { gpu, storage } = weight;
  if (gpu.kernelClass !== "shared") {
    return weight.derived(key, () => computation.alone(weight, settings));
  }
  const memo = (storage.memo ??= new Map()) as Map<string, Results<S>>;
  let results = memo.get(computation.name);
  if (!results) memo.set(computation.name, results = new Results(computation));
  return results.take(weight, key, settings);
}

/** A weight that was asked for. */
interface AskedWeight<S> {
  readonly settings: S;
  readonly byteOffset: number;
  readonly byteEnd: number;
}

/** The results of one computation for the weights in one buffer. */
class Results<S> {
  readonly #computation: WeightComputation<S>;
  /** Name of what was computed at once, among what is derived from a buffer. */
  readonly #together: string;
  /** What was asked for since the buffer was written. */
  #asked = new Map<string, AskedWeight<S>>();
  /** Where the array of what was computed at once holds each of it. */
  #places = new Map<string, PlacedWeight<S>>();
  /** Whether anything was computed by itself since. */
  #anyAlone = false;

  constructor(computation: WeightComputation<S>) {
    this.#computation = computation;
    this.#together = `${computation.name}, together`;
  }

  take(weight: GpuArray, key: string, settings: S): GpuArray {
    const { storage, byteOffset, byteLength, shape } = weight;
    const name = `${key}|${byteOffset}|${shape.join()}`;
    const together = storage.derived?.get(this.#together) ?? this.#computeAll(weight);
    this.#asked.set(name, { settings, byteOffset, byteEnd: byteOffset + byteLength });
    const place = this.#places.get(name);
    if (!place) {
      this.#anyAlone = true;
      return weight.derived(key, () => this.#computation.alone(weight, settings));
    }
    using part = (together as GpuArray).slice(place.first, elementCount(place.shape));
    return part.view(place.shape);
  }

  /** Computes what was asked for before the buffer of `weight` was written. */
  #computeAll(weight: GpuArray): GpuArray {
    const { gpu, storage } = weight;
    const from = Math.min(...[...this.#asked.values()].map(({ byteOffset }) => byteOffset));
    let [to, first] = [from, 0];
    this.#places = new Map();
    for (const [name, { settings, byteOffset, byteEnd }] of this.#asked) {
      const shape = this.#computation.shapeOf(settings);
      const end = first + elementCount(shape);
      // What one binding does not show is computed by itself.
      if (Math.max(byteEnd - from, end * 4) > gpu.maxBindingBytes) continue;
      this.#places.set(name, { settings, origin: (byteOffset - from) / 4, first, shape });
      to = Math.max(to, byteEnd);
      first = Math.ceil(end * 4 / gpu.offsetAlignment) * gpu.offsetAlignment / 4;
    }
    this.#asked = new Map();
    // Else the many buffers of what was computed by itself would lie idle beside the large one.
    if (this.#anyAlone) gpu.pool.trim();
    this.#anyAlone = false;
    const results = gpu.empty([first], this.#together);
    if (this.#places.size > 0) {
      using source = weight.stretch(from, (to - from) / 4);
      this.#computation.together(source, [...this.#places.values()], results);
    }
    gpu.pool.keepDerived(storage, this.#together, results);
    return results;
  }
}
