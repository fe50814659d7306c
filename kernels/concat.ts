// Channel concatenation and its inverse: by kernels on GPUs; by copies on software adapters, where
// those are ten times as fast.

import { imageSizes } from "./planes.ts";
import source from "./concat.wgsl" with { type: "text" };
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Kernel,
  sameShape,
  sliceByImage,
  wgslConstants,
} from "./runtime/mod.ts";
import { strideFor } from "./spread.ts";

const shared = {
  file: "kernels/concat.wgsl",
  source,
  params: { count: "u32", stride: "u32", image: "u32", imageStep: "u32", first: "u32" },
} as const;
const join = defineKernel({
  ...shared,
  name: "concat.join",
  entry: "join",
  reads: ["fromPart"],
  writes: ["joined"],
});
const cut = defineKernel({
  ...shared,
  name: "concat.cut",
  entry: "cut",
  reads: ["fromJoined"],
  writes: ["part"],
});
const { RUN } = wgslConstants(shared, "RUN");

/**
 * Joins arrays along their channels.
 *
 * @param parts [N, C_i, H, W] each, at least one.
 * @returns [N, Σ C_i, H, W].
 * @throws {TypeError} If they differ in more than the channels, or there are none.
 */
export function concatForward(parts: readonly GpuArray[]): GpuArray {
  const [first] = parts;
  if (!first) throw new TypeError("Cannot run concat as it got no arrays");
  const { images, height, width } = imageSizes("concat", first);
  for (const part of parts) {
    const expected = [images, imageSizes("concat", part).channels, height, width];
    if (!sameShape(part.shape, expected)) {
      throw new TypeError(
        `Cannot run concat as its inputs may differ in channels only: they have ${
          formatShape(first.shape)
        } and ${formatShape(part.shape)}`,
      );
    }
  }
  const channels = parts.map(({ shape }) => shape[1] as number);
  const total = channels.reduce((sum, count) => sum + count, 0);
  const output = first.gpu.empty([images, total, height, width], "concat");
  eachPart(parts, channels, (part, first) => {
    if (output.gpu.kernelClass === "direct") {
      eachImage(part, output, first, (own, block) => output.gpu.copy(own, block));
    } else {
      sliceByImage(
        [part],
        [output],
        ([fromPart], [joined]) =>
          dispatch(join, { fromPart, joined }, ...workOn(join, fromPart, joined, first)),
      );
    }
  });
  return output;
}

/**
 * Gradient of {@link concatForward}: cuts an array along its channels.
 *
 * @param gradOutput [N, Σ C_i, H, W].
 * @param channels C_i, one for each part.
 * @param needs Whether part `i` is wanted.
 * @returns [N, C_i, H, W] each, null where not wanted.
 * @throws {TypeError} If the parts' channels do not add up to those of `gradOutput`.
 */
export function concatBackward(
  gradOutput: GpuArray,
  channels: readonly number[],
  needs: readonly boolean[],
): (GpuArray | null)[] {
  const { images, channels: total, height, width } = imageSizes("concat.backward", gradOutput);
  if (channels.reduce((sum, count) => sum + count, 0) !== total) {
    throw new TypeError(
      `Cannot run concat.backward as the parts must have ${total} channels: they have ${
        channels.join(" + ")
      }`,
    );
  }
  const parts = channels.map((count, index) =>
    needs[index] ? gradOutput.gpu.empty([images, count, height, width], "concat.backward") : null
  );
  eachPart(parts, channels, (part, first) => {
    if (part && part.gpu.kernelClass === "direct") {
      eachImage(part, gradOutput, first, (own, block) => part.gpu.copy(block, own));
    } else if (part) {
      sliceByImage(
        [gradOutput],
        [part],
        ([fromJoined], [part]) =>
          dispatch(cut, { fromJoined, part }, ...workOn(cut, part, fromJoined, first)),
      );
    }
  });
  return parts;
}

/** Params and invocations for a part whose channels begin at channel `first` of what is joined. */
function workOn(kernel: Kernel, part: GpuArray, joined: GpuArray, first: number) {
  const [images = 0, total = 0] = joined.shape;
  const imageStep = joined.size / images;
  const params = {
    count: part.size,
    stride: strideFor(kernel, part.gpu),
    image: part.size / images,
    imageStep,
    first: first * imageStep / total,
  };
  return [params, Math.ceil(part.size / RUN)] as const;
}

/** Calls `use` with every part and its first channel. */
function eachPart<T extends GpuArray | null>(
  parts: readonly T[],
  channels: readonly number[],
  use: (part: T, first: number) => void,
): void {
  let first = 0;
  parts.forEach((part, index) => {
    use(part, first);
    first += channels[index] as number;
  });
}

/** Calls `copy` with each image of a part, and its place in what is joined. */
function eachImage(
  part: GpuArray,
  joined: GpuArray,
  first: number,
  copy: (own: GpuArray, block: GpuArray) => void,
): void {
  const [images = 0, total = 0, height = 0, width = 0] = joined.shape;
  using planes = joined.view([images * total, height, width]);
  for (let image = 0; image < images; image++) {
    using block = planes.slice(image * total + first, part.shape[1]);
    using own = part.slice(image, 1);
    copy(own, block);
  }
}
