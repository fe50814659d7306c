// How fast an adapter is, measured for a second: what times of a plan are estimated from.

import { conv2dForward, conv2dInputGradient } from "../../kernels/dense/conv2d.ts";
import { conv2dParameterGradients } from "../../kernels/dense/conv2d_weight.ts";
import { addInPlace } from "../../kernels/elementwise.ts";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../config/settings.ts";
import type { Work } from "./plan.ts";

/** Rates of an adapter. */
export interface Throughput {
  /** Floating-point operations per second in convolutions, forward and both gradients. */
  readonly flops: number;
  /** Bytes per second through kernels that are bound by memory. */
  readonly bytes: number;
  /** Seconds that a kernel takes at least. */
  readonly dispatch: number;
}

/** Most elements of the arrays whose sum measures the memory: more than caches hold. */
const SUM_LENGTH = 2 ** 24;
const TINY_SUMS = 256;
/** Work is repeated until it takes as long as this. */
const MEASURING_SECONDS = 0.1;

/**
 * Measures an adapter with a convolution like those that a network spends most of its time in.
 *
 * @param config Gives its channels and the size of its maps.
 */
export async function measureThroughput(
  gpu: Gpu,
  { network, data }: RunConfig,
): Promise<Throughput> {
  const channels = 4 * network.width; // of the third layer, the deepest
  const [height, width] = [data.cropHeight, data.cropWidth].map((side) => Math.ceil(side / 8));
  const images = Math.min(2, data.batch);
  const geometry = { stride: 1, padding: 2, dilation: 2 };
  using x = gpu.zeros([images, channels, height as number, width as number], "a layer's input");
  using weight = gpu.zeros([channels, channels, 3, 3], "a layer's weight");
  const products = 3 * 2 * 9 * x.size * channels; // of the forward and both gradients
  const convolve = () => {
    using y = conv2dForward(x, weight, null, geometry);
    conv2dInputGradient(y, weight, x.shape, geometry).release();
    conv2dParameterGradients(y, x, weight.shape, geometry, { weight: true, bias: false })
      .weight?.release();
  };
  const length = Math.min(SUM_LENGTH, 2 ** Math.floor(Math.log2(gpu.memory.budget / 16)));
  using sum = gpu.zeros([length], "sum");
  using term = gpu.zeros([length], "term");
  using tinySum = gpu.zeros([1], "sum");
  using tinyTerm = gpu.zeros([1], "term");
  const tiny = await secondsOf(gpu, () => {
    for (let index = 0; index < TINY_SUMS; index++) addInPlace(tinySum, tinyTerm);
  });
  return {
    flops: products / await secondsOf(gpu, convolve),
    bytes: 3 * 4 * length / await secondsOf(gpu, () => addInPlace(sum, term)),
    dispatch: tiny / TINY_SUMS,
  };
}

/**
 * The seconds that work takes, the least of some runs; the first one compiles and does not count. What is
 * short is done many times before it is waited for, as the waiting alone takes some ten milliseconds.
 */
async function secondsOf(gpu: Gpu, run: () => void): Promise<number> {
  const timed = async (times: number) => {
    const before = performance.now();
    for (let time = 0; time < times; time++) run();
    await gpu.finish();
    return (performance.now() - before) / 1000;
  };
  await timed(1);
  const started = performance.now();
  let times = 1;
  let seconds = await timed(times);
  while (seconds < MEASURING_SECONDS) {
    times *= 2;
    seconds = await timed(times);
  }
  while ((performance.now() - started) / 1000 < 4 * MEASURING_SECONDS) {
    seconds = Math.min(seconds, await timed(times));
  }
  return seconds / times;
}

/** The seconds that work is expected to take at measured rates. */
export function estimateSeconds(work: Work, { flops, bytes, dispatch }: Throughput): number {
  return work.flops / flops + work.bytes / bytes + work.dispatches * dispatch;
}
