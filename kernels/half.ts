// Half precision as storage: arithmetic stays in 32-bit floats; the formulas are in the WGSL.

import {
  type AnyArray,
  defineKernel,
  dispatch,
  type GpuArray,
  type Shape,
  sliceByImage,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";
import source from "./half.wgsl" with { type: "text" };

const shared = {
  file: "kernels/half.wgsl",
  source,
  params: { count: "u32", stride: "u32" },
} as const;
const { RUN } = wgslConstants(shared, "RUN");
const pack = defineKernel({
  ...shared,
  name: "half.pack",
  entry: "pack",
  reads: ["values"],
  writes: ["words"],
});
const unpack = defineKernel({
  ...shared,
  name: "half.unpack",
  entry: "unpack",
  reads: ["packedWords"],
  writes: ["unpacked"],
});

/**
 * Packs floats into half the bytes: each rounded to the nearest half, and kept within ±65504.
 *
 * @param array An even number of elements.
 * @returns Words of two halves each, [elements / 2]; read them with {@link unpackHalf} only.
 * @throws {RangeError} If the number of elements is odd.
 */
export function packHalf(array: GpuArray): GpuArray {
  if (array.size % 2 !== 0) {
    throw new RangeError(`Cannot pack "${array.label}" as it has an odd number of elements`);
  }
  const count = array.size / 2;
  const words = array.gpu.empty([count], `half of ${array.label}`);
  using pairs: AnyArray = array.view([count, 2]);
  sliceByImage([pairs], [words], ([values], [words]) => {
    const params = { count: words.size, stride: strideFor(pack, array.gpu) };
    dispatch(pack, { values, words }, params, Math.ceil(words.size / RUN));
  });
  return words;
}

/**
 * The floats of {@link packHalf}.
 *
 * @param shape Of twice as many elements as there are words.
 */
export function unpackHalf(words: GpuArray, shape: Shape, label: string): GpuArray {
  const array = words.gpu.empty(shape, label);
  using pairs: AnyArray = array.view([words.size, 2]);
  sliceByImage([words], [pairs], ([packedWords], [unpacked]) => {
    const params = { count: packedWords.size, stride: strideFor(unpack, array.gpu) };
    dispatch(unpack, { packedWords, unpacked }, params, Math.ceil(packedWords.size / RUN));
  });
  return array;
}
