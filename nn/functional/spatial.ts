// Functions over the plane of an image: pooling, joining channels, resizing.

import { concatBackward, concatForward } from "../../kernels/concat.ts";
import {
  globalAveragePoolBackward,
  globalAveragePoolForward,
} from "../../kernels/global_average_pool.ts";
import { maxPool2dBackward, maxPool2dForward, type PoolWindows } from "../../kernels/max_pool2d.ts";
import type { Size } from "../../kernels/planes.ts";
import { resizeBilinearBackward, resizeBilinearForward } from "../../kernels/resize.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { samplePlanesBackward, samplePlanesForward } from "../../kernels/sample_planes.ts";
import { record } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/**
 * The largest number in every window; the whole gradient goes to the first of equal ones. A window
 * that holds a NaN gives NaN.
 *
 * @param x [N, C, H, W].
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If the windows are not possible, or larger than the padded input.
 */
export function maxPool2d(x: Tensor, windows: PoolWindows): Tensor {
  const { shape } = x;
  const { output, at } = maxPool2dForward(x.array, windows);
  const result = record("max_pool2d", output, [x], [at], (gradOutput) => [
    maxPool2dBackward(gradOutput, at, shape, windows),
  ]);
  at.release();
  return result;
}

/**
 * Mean of every plane: [N, C, H, W] to [N, C].
 *
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If its planes are empty.
 */
export function globalAveragePool(x: Tensor): Tensor {
  const { shape } = x;
  const output = globalAveragePoolForward(x.array);
  return record("global_average_pool", output, [x], [], (gradOutput, _, [into]) => [
    globalAveragePoolBackward(gradOutput, shape, into || true),
  ]);
}

/**
 * Joins tensors [N, C_i, H, W] along their channels.
 *
 * @throws {TypeError} If they differ in more than the channels, or there are none.
 */
export function concatChannels(parts: readonly Tensor[]): Tensor {
  const channels = parts.map(({ shape }) => shape[1] ?? 0);
  const output = concatForward(parts.map(({ array }) => array));
  return record(
    "concat_channels",
    output,
    parts,
    [],
    (gradOutput, needs) => concatBackward(gradOutput, channels, needs),
  );
}

/**
 * Resizes [N, C, H, W] to [N, C, height, width], bilinear with aligned corners.
 *
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If a side of either is empty.
 */
export function resizeBilinear(x: Tensor, size: Size): Tensor {
  const { shape } = x;
  const output = resizeBilinearForward(x.array, size);
  return record("resize_bilinear", output, [x], [], (gradOutput) => [
    resizeBilinearBackward(gradOutput, shape),
  ]);
}

/**
 * Bilinear samples of every channel at places of each image: [N, C, H, W] to [N P, C], one row for
 * each place.
 *
 * @param places [N, P, 2], constant: column and row, counted from the centre of the first pixel;
 *   one outside the map gives what is nearest to it.
 * @throws {TypeError} If the shapes do not fit.
 */
export function samplePlanes(x: Tensor, places: GpuArray): Tensor {
  const [, , height = 0, width = 0] = x.shape;
  using samples = samplePlanesForward(x.array, places);
  const { shape } = samples;
  const rows = samples.view([shape[0] * shape[1], shape[2]]);
  return record("sample_planes", rows, [x], [places], (gradOutput) => {
    using gradSamples = gradOutput.view(shape);
    return [samplePlanesBackward(gradSamples, places, { height, width })];
  });
}
