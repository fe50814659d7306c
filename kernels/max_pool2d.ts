// Max pooling; the formulas are in the WGSL.

import { checkShape } from "./class_map.ts";
import { imageSizes, sliceByPlane, spreadPlanes } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, type Shape } from "./runtime/mod.ts";
import source from "./max_pool2d.wgsl" with { type: "text" };

const shared = {
  file: "kernels/max_pool2d.wgsl",
  source,
  params: {
    planes: "u32",
    run: "u32",
    height: "u32",
    width: "u32",
    outputHeight: "u32",
    outputWidth: "u32",
    kernel: "u32",
    stride: "u32",
    padding: "u32",
  },
} as const;
const forward = defineKernel({
  ...shared,
  name: "max_pool2d.forward",
  entry: "forward",
  reads: ["x"],
  writes: ["y", "at"],
});
const backward = defineKernel({
  ...shared,
  name: "max_pool2d.backward",
  entry: "backward",
  reads: ["gradY", "savedAt"],
  writes: ["gradX"],
});

/** The windows of a pooling. */
export interface PoolWindows {
  /** Side of a window in pixels. */
  readonly kernel: number;
  /** Pixels from one window to the next. */
  readonly stride: number;
  /** Pixels that windows may reach past the input, at most half of `kernel`. */
  readonly padding: number;
  /**
   * Whether a last window that leaves the padded input counts, if it starts before the right
   * padding.
   */
  readonly ceilMode: boolean;
}

/** What {@link maxPool2dForward} returns. */
export interface Pooled {
  /** The largest number of every window, [N, C, H', W']. */
  readonly output: GpuArray;
  /** Where it lies in its plane of the input, row by row, [N, C, H', W']. */
  readonly at: GpuArray<"u32">;
}

/**
 * The largest number in every window of every plane; NaN where the window holds one.
 *
 * @param x [N, C, H, W].
 * @throws {TypeError} If `x` has another number of axes.
 * @throws {RangeError} If there are no such windows, or the input is smaller than one.
 */
export function maxPool2dForward(x: GpuArray, windows: PoolWindows): Pooled {
  const { images, channels, height, width } = imageSizes("max_pool2d", x);
  checkWindows(windows);
  const shape = [images, channels, windowCount(height, windows), windowCount(width, windows)];
  const output = x.gpu.empty(shape, "max_pool2d.forward");
  const at = x.gpu.empty(shape, "places of maxima", "u32");
  sliceByPlane([x], [output, at], ([x], [y, at]) => {
    const { grid, run } = spreadPlanes(forward, y);
    dispatch(forward, { x, y, at }, { run, ...sizes(x, y, windows) }, grid);
  });
  return { output, at };
}

/**
 * Gradient of {@link maxPool2dForward}: what each input gave to the windows whose largest it was.
 *
 * @param gradOutput [N, C, H', W'].
 * @param at As the forward returned it.
 * @param inputShape [N, C, H, W].
 */
export function maxPool2dBackward(
  gradOutput: GpuArray,
  at: GpuArray<"u32">,
  inputShape: Shape,
  windows: PoolWindows,
): GpuArray {
  checkShape("max_pool2d.backward", gradOutput, at.shape);
  const gradInput = gradOutput.gpu.empty(inputShape, "max_pool2d.backward");
  sliceByPlane([gradOutput, at], [gradInput], ([gradY, savedAt], [gradX]) => {
    const { grid, run } = spreadPlanes(backward, gradX);
    const params = { run, ...sizes(gradX, gradY, windows) };
    dispatch(backward, { gradY, savedAt, gradX }, params, grid);
  });
  return gradInput;
}

function sizes(
  { shape: [planes = 0, height = 0, width = 0] }: GpuArray,
  { shape: [, outputHeight = 0, outputWidth = 0] }: GpuArray,
  { kernel, stride, padding }: PoolWindows,
) {
  return { planes, height, width, outputHeight, outputWidth, kernel, stride, padding };
}

function checkWindows({ kernel, stride, padding }: PoolWindows): void {
  const whole = [kernel, stride, padding].every(Number.isSafeInteger);
  if (!whole || kernel < 1 || stride < 1 || padding < 0 || padding > kernel / 2) {
    throw new RangeError(
      `Cannot run max_pool2d with kernel ${kernel}, stride ${stride} and padding ${padding}: kernel ` +
        "and stride must be at least 1 and padding at most half of the kernel",
    );
  }
}

/** Windows along an axis, as PyTorch counts them. */
function windowCount(length: number, { kernel, stride, padding, ceilMode }: PoolWindows): number {
  const steps = (length + 2 * padding - kernel) / stride;
  if (length < 1 || steps < 0) {
    throw new RangeError(
      `Cannot run max_pool2d as a window of ${kernel} must fit the padded input: its side is ${length} + 2 · ${padding}`,
    );
  }
  if (!ceilMode) return Math.floor(steps) + 1;
  const count = Math.ceil(steps) + 1;
  return (count - 1) * stride >= length + padding ? count - 1 : count;
}
