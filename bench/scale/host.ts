// What the host costs on the way from a GPU to the network, measured without one.

import { openGpu } from "../../kernels/runtime/mod.ts";
import { HalfSums } from "../../train/parallel/halves.ts";
import type { Host } from "./model.ts";

const ROUNDS = 7;
const SMALL_SUMS = 200;

/** The median of what `time` gives. */
async function median(time: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) times.push(await time());
  return times.slice(1).sort((a, b) => a - b)[ROUNDS >> 1]!; // the first takes new memory
}

/** Measures the way of so many bytes of gradients. */
export async function measureHost(gradientBytes: number): Promise<Host> {
  using gpu = await openGpu();
  const timed = async (work: () => void): Promise<number> => {
    await gpu.finish();
    const started = performance.now();
    work();
    gpu.flush();
    await gpu.queue.submitted();
    return performance.now() - started;
  };
  const nothing = () => Promise.resolve();
  using gradients = gpu.zeros([gradientBytes / 4], "gradients");
  const staging = await median(() => timed(() => gpu.onHost([gradients], nothing)));
  using small = gpu.zeros([64], "sums");
  const sums = await median(() =>
    timed(() => {
      for (let sum = 0; sum < SMALL_SUMS; sum++) gpu.onHost([small], nothing);
    })
  );
  const numbers = new Float32Array(2 ** 21);
  const halves = new HalfSums({ // of two ranks, the other of which sends nothing and has added up its part
    size: 2,
    greatest: (value) => Promise.resolve(value),
    exchange: nothing,
    gather: nothing,
  });
  const halving = await median(async () => {
    const started = performance.now();
    await halves.sum(numbers);
    return performance.now() - started;
  });
  return {
    staged: gradientBytes / staging,
    smallSum: sums / SMALL_SUMS,
    halved: numbers.byteLength / halving,
  };
}
