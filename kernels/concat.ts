// Channel concatenation and its inverse: copies between buffers, no kernel.

import { imageSizes } from "./planes.ts";
import { formatShape, type GpuArray, sameShape } from "./runtime/mod.ts";

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
  const channels = parts.map(({ shape }) => shape[1]);
  const total = channels.reduce((sum, count) => sum + count, 0);
  const output = first.gpu.empty([images, total, height, width], "concat");
  eachBlock(output, channels, parts, (joined, part) => first.gpu.copy(part, joined));
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
  eachBlock(gradOutput, channels, parts, (block, part) => gradOutput.gpu.copy(block, part));
  return parts;
}

/**
 * Calls `copy` with the channels of one part in one image of both arrays, for every part and image.
 */
function eachBlock(
  joined: GpuArray,
  channels: readonly number[],
  parts: readonly (GpuArray | null)[],
  copy: (joined: GpuArray, part: GpuArray) => void,
): void {
  const [images = 0, total = 0, height = 0, width = 0] = joined.shape;
  using planes = joined.view([images * total, height, width]);
  let first = 0;
  parts.forEach((part, index) => {
    const count = channels[index];
    for (let image = 0; part && image < images; image++) {
      using block = planes.slice(image * total + first, count);
      using own = part.slice(image, 1);
      copy(block, own);
    }
    first += count;
  });
}
