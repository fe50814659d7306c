// Weights packed for convolutions; in the shared class those of one buffer in one dispatch.

import { defineKernel, dispatch, elementCount, type GpuArray, gridFor } from "../runtime/mod.ts";
import { pack, type PackAxes, packedShape } from "./matmul.ts";
import source from "./pack_weights.wgsl" with { type: "text" };
import { computedFrom, type PlacedWeight, type WeightComputation } from "./weights_together.ts";

const kernel = defineKernel({
  file: "kernels/dense/pack_weights.wgsl",
  source,
  name: "conv2d.pack_weights",
  entry: "pack_weights",
  reads: ["source", "table"],
  writes: ["packed"],
  params: { weights: "u32", groups: "u32" },
});

const PACKING: WeightComputation<PackAxes> = {
  name: "packed weights",
  shapeOf: packedShape,
  alone: pack,
  together: packTogether,
};

/**
 * A weight as {@link pack} packs it, kept until it is written.
 *
 * @param key Names the axes.
 * @returns A reference of the caller's own.
 */
export function packedWeight(weight: GpuArray, key: string, axes: PackAxes): GpuArray {
  return computedFrom(weight, PACKING, key, axes);
}

function packTogether(
  source: GpuArray,
  weights: readonly PlacedWeight<PackAxes>[],
  packed: GpuArray,
): void {
  const table: number[] = [];
  let groups = 0;
  for (const weight of weights) {
    table.push(...entryOf(weight, groups));
    groups += Math.ceil(elementCount(weight.shape) / 4 / kernel.workgroupSize);
  }
  using entries = source.gpu.upload(Uint32Array.from(table), [table.length], "weights to pack");
  const params = { weights: weights.length, groups };
  dispatch(kernel, { source, table: entries, packed }, params, gridFor(groups, 1));
}

/** What `Packing` in the WGSL holds, and one element that it does not read. */
function entryOf({ settings, origin: start, first }: PlacedWeight<PackAxes>, group: number) {
  const { outer = ONE, inner = ONE, rows, columns, origin = 0 } = settings;
  const counts = [columns.count, outer.count, inner.count, rows.count];
  const steps = [columns.step, outer.step, inner.step, rows.step];
  return [group, first / 4, start + origin, ...counts, ...steps, 0];
}

const ONE = { count: 1, step: 0 };
