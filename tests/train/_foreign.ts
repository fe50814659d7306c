// Networks as others would leave them: PyTorch files under other prefixes.

import type { DeepLab, DeepLabOptions } from "../../nn/deeplab.ts";
import { DeepLab as Network } from "../../nn/deeplab.ts";
import { testGpu } from "../_device.ts";
import { Fill } from "../goldens/fill.ts";
import { dictionary, tensor, torchFile } from "../nn/formats/_torch_files.ts";

/** Of a published form, but small. */
export const SMALL: DeepLabOptions = {
  blocks: [1, 2, 1, 1],
  width: 4,
  classes: 19,
  headChannels: 32,
};

/** A network whose every weight and statistic matters, in evaluation mode. */
export async function filledNetwork(options: DeepLabOptions = SMALL): Promise<DeepLab> {
  const network = new Network(await testGpu(), { ...options, init: "none" });
  const fill = new Fill("foreign");
  fill.module(network);
  for (const [name, array] of network.namedBuffers()) {
    const values = fill.signed(name, array.size);
    array.gpu.write(array, values.map((value) => (name.endsWith("var") ? 1 : 0) + value / 2));
  }
  return network.eval();
}

/** The values of a network's state by name. */
export async function stateValues(network: DeepLab): Promise<Map<string, Float32Array>> {
  const state = network.stateDict();
  const values = await network.gpu.readAll([...state.values()]);
  return new Map([...state.keys()].map((name, index) => [name, values[index] as Float32Array]));
}

/** Writes weights as torch.save does, under a prefix, or once under each of several. */
export async function writeTorch(
  path: string,
  network: DeepLab,
  { prefix = "", only = /^/ }: { prefix?: string | readonly string[]; only?: RegExp } = {},
): Promise<void> {
  const tensors: Record<string, Uint8Array> = {};
  const storages: Record<string, Uint8Array> = {};
  const values = await stateValues(network);
  for (const [name, array] of network.stateDict()) {
    if (!only.test(name)) continue;
    const key = `${Object.keys(storages).length}`;
    const shape = [...array.shape];
    const strides = shape.map((_, axis) =>
      shape.slice(axis + 1).reduce((size, length) => size * length, 1)
    );
    for (const before of [prefix].flat()) {
      tensors[before + name] = tensor({ key, elements: array.size, shape, strides });
    }
    storages[key] = new Uint8Array((values.get(name) as Float32Array).slice().buffer);
  }
  Deno.writeFileSync(path, torchFile(dictionary(tensors), storages));
}
