// One device a test file: opening one takes a second, and every operation shares it.

import { type Gpu, openGpu } from "../kernels/runtime/mod.ts";

const devices = new Map<string, Promise<Gpu>>();

/** The shared device; fails loudly where the machine has no adapter. */
export function testGpu(): Promise<Gpu> {
  return device("plain", {});
}

/** A device whose arrays end in sentinels, checked whenever one is read. */
export function guardedGpu(): Promise<Gpu> {
  return device("guarded", { guardBytes: 256 });
}

/** A device that pretends to bind no more than `bytes`, so that launchers must split. */
export function narrowGpu(bytes: number): Promise<Gpu> {
  return device(`narrow ${bytes}`, { maxBindingBytes: bytes });
}

function device(name: string, options: Parameters<typeof openGpu>[0]): Promise<Gpu> {
  const opened = devices.get(name) ?? openGpu(options);
  devices.set(name, opened);
  return opened;
}
