// One device a test file: opening one takes a second, and every operation shares it.

import { type Gpu, type KernelClass, openGpu } from "../kernels/runtime/mod.ts";
import { peersOf } from "../train/parallel/peers.ts";
import { among } from "./_ranks.ts";

const devices = new Map<string, Promise<Gpu>>();

/** The shared device; fails loudly where the machine has no adapter. */
export function testGpu(kernels: Kernels = "auto"): Promise<Gpu> {
  return device(`plain ${kernels}`, { kernels });
}

/** A class of kernels, or the adapter's. */
export type Kernels = KernelClass | "auto";

/** The classes of kernels; what exists in both is tested in both. */
export const KERNEL_CLASSES: readonly KernelClass[] = ["direct", "shared"];

/** A device whose arrays end in sentinels, checked whenever one is read. */
export function guardedGpu(kernels: Kernels = "auto"): Promise<Gpu> {
  return device(`guarded ${kernels}`, { guardBytes: 256, kernels });
}

/** A device that pretends to bind no more than `bytes`, so that launchers must split. */
export function narrowGpu(bytes: number, kernels: Kernels = "auto"): Promise<Gpu> {
  return device(`narrow ${bytes} ${kernels}`, { maxBindingBytes: bytes, kernels });
}

function device(name: string, options: Parameters<typeof openGpu>[0]): Promise<Gpu> {
  const { ranks } = among;
  const peers = ranks.size > 1 ? { peers: peersOf(ranks) } : {};
  const opened = devices.get(name) ?? openGpu({ ...options, ...peers });
  devices.set(name, opened);
  return opened;
}

/** Runs `fn` while every tile to be chosen is this one, and no form of Winograd's algorithm. */
export async function choosing(gpu: Gpu, name: string, fn: () => Promise<void>): Promise<void> {
  const { choices } = gpu;
  const { choose } = choices;
  choices.choose = (problem) =>
    (problem.candidates.get(name) ?? problem.candidates.get("direct") ??
      choose.call(choices, problem)) as never;
  try {
    await fn();
  } finally {
    choices.choose = choose;
  }
}
