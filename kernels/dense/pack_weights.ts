// Weights packed for convolutions; in the shared class those of one buffer in one dispatch.
//
// What is packed is kept until the buffer is written, as an optimiser does at every step. All that
// was asked for since is then packed at once, as soon as any of it is asked for again.

import {
  defineKernel,
  dispatch,
  elementCount,
  type GpuArray,
  gridFor,
  type Shape,
} from "../runtime/mod.ts";
import { pack, type PackAxes, packedShape } from "./matmul.ts";
import source from "./pack_weights.wgsl" with { type: "text" };

const kernel = defineKernel({
  file: "kernels/dense/pack_weights.wgsl",
  source,
  name: "conv2d.pack_weights",
  entry: "pack_weights",
  reads: ["source", "table"],
  writes: ["packed"],
  params: { weights: "u32", groups: "u32" },
});
/** Elements of `table` in the WGSL that belong to one weight. */
const ENTRY = 12;
/** Name of what was packed at once, among what is derived from a buffer. */
const TOGETHER = "packed together";

/**
 * A weight as {@link pack} packs it, kept until it is written.
 *
 * @param key Names the axes.
 * @returns A reference of the caller's own.
 */
export function packedWeight(weight: GpuArray, key: string, axes: PackAxes): GpuArray {
  if (weight.gpu.kernelClass !== "shared") return weight.derived(key, () => pack(weight, axes));
  const packings = (weight.storage.memo ??= new Packings()) as Packings;
  return packings.take(weight, key, axes);
}

/** Which part of a buffer is packed, and how. */
interface Packing {
  readonly byteOffset: number;
  readonly byteEnd: number;
  readonly axes: PackAxes;
}

/** What is packed of the weights in one buffer. */
class Packings {
  /** What was asked for since the buffer was written. */
  #asked = new Map<string, Packing>();
  /** Where the array of what was packed at once holds each of it. */
  #places = new Map<string, { readonly first: number; readonly shape: Shape }>();

  take(weight: GpuArray, key: string, axes: PackAxes): GpuArray {
    const { storage, byteOffset, byteLength, shape } = weight;
    const name = `${key}|${byteOffset}|${shape.join()}`;
    const together = storage.derived?.get(TOGETHER) ?? this.#packAll(weight);
    this.#asked.set(name, { byteOffset, byteEnd: byteOffset + byteLength, axes });
    const place = this.#places.get(name);
    if (!place) return weight.derived(key, () => pack(weight, axes));
    using part = (together as GpuArray).slice(place.first, elementCount(place.shape));
    return part.view(place.shape);
  }

  /** Packs what was asked for before the buffer of `weight` was written. */
  #packAll(weight: GpuArray): GpuArray {
    const { gpu, storage } = weight;
    const from = Math.min(...[...this.#asked.values()].map(({ byteOffset }) => byteOffset));
    const table: number[] = [];
    let [to, first, groups] = [from, 0, 0];
    this.#places = new Map();
    for (const [name, { byteOffset, byteEnd, axes }] of this.#asked) {
      const shape = packedShape(axes);
      const size = elementCount(shape);
      // What one binding does not show is packed by itself.
      if (Math.max(byteEnd - from, (first + size) * 4) > gpu.maxBindingBytes) continue;
      table.push(...entryOf(axes, groups, first / 4, (byteOffset - from) / 4));
      this.#places.set(name, { first, shape });
      to = Math.max(to, byteEnd);
      first = Math.ceil((first + size) * 4 / gpu.offsetAlignment) * gpu.offsetAlignment / 4;
      groups += Math.ceil(size / 4 / kernel.workgroupSize);
    }
    this.#asked = new Map();
    const packed = gpu.empty([first], TOGETHER);
    if (groups > 0) {
      using entries = gpu.upload(Uint32Array.from(table), [table.length], "weights to pack");
      using source = weight.stretch(from, (to - from) / 4);
      const params = { weights: table.length / ENTRY, groups };
      dispatch(kernel, { source, table: entries, packed }, params, gridFor(groups, 1));
    }
    gpu.pool.keepDerived(storage, TOGETHER, packed);
    return packed;
  }
}

/** What `Packing` in the WGSL holds, and one element that it does not read. */
function entryOf(axes: PackAxes, group: number, first: number, start: number): number[] {
  const { outer = ONE, inner = ONE, rows, columns, origin = 0 } = axes;
  const counts = [columns.count, outer.count, inner.count, rows.count];
  const steps = [columns.step, outer.step, inner.step, rows.step];
  return [group, first, start + origin, ...counts, ...steps, 0];
}

const ONE = { count: 1, step: 0 };
