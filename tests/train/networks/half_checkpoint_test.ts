// Checkpoints of a network alone in half the bytes.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AnyArray } from "../../../kernels/runtime/mod.ts";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { presetConfig } from "../../../train/config/config.ts";
import { digestOfFile } from "../../../train/base/digest.ts";
import { Checkpoint, writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import { writeHalfCheckpoint } from "../../../train/networks/half_checkpoint.ts";
import { assertSame } from "../../_same.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";

const WEIGHTS = Float32Array.of(1, -0.333333, 65504, 6e-8, 2.0009766, -2.9e-8);
/** The nearest numbers of 11 bits; the smallest has 2⁻²⁴ as its unit. */
const HALVES = Float32Array.of(1, -0.333251953125, 65504, 2 ** -24, 2, -0);
const LARGE = Float32Array.of(0.1, 65536);

/** Runs `body` with a checkpoint that holds more than a network. */
async function withCheckpoint(
  weights: Float32Array,
  body: (path: string, folder: string) => void | Promise<void>,
) {
  const gpu = await testGpu();
  const arrays = new Map<string, AnyArray>([
    ["network.conv.weight", gpu.upload(weights, [2, 3], "weight")],
    ["network.variance", gpu.upload(LARGE, [2], "variance")],
    ["optimizer.conv.weight", gpu.upload(weights, [2, 3], "momentum")],
  ]);
  const config = presetConfig("default");
  const state = { config, classes: ["road"], ownClasses: null, stage: "warmup", step: 7 };
  try {
    await withFolder(async (folder) => {
      const path = join(folder, "warmup.safetensors");
      await writeCheckpoint(path, arrays, { ...state, best: { step: 1, value: 2 }, files: "x" });
      await body(path, folder);
    });
  } finally {
    for (const array of arrays.values()) array.release();
  }
}

Deno.test("a network in half the bytes has the nearest numbers, and those that 16 bits cannot hold as they were", () =>
  withCheckpoint(WEIGHTS, async (path, folder) => {
    const output = join(folder, "small.safetensors");
    const written = writeHalfCheckpoint(path, output, (config) => ({ ...config, seed: 5 }));
    const { size } = Deno.statSync(output);
    const sha256 = digestOfFile(output);
    assert.deepEqual(written, { stage: "warmup", step: 7, bytes: size, sha256 });
    const file = new Safetensors(Deno.readFileSync(output));
    assert.deepEqual(
      [...file.entries].map(([name, { dtype, shape }]) => [name, dtype, [...shape]]),
      [["network.variance", "F32", [2]], ["network.conv.weight", "F16", [2, 3]]],
    );
    assertSame(file.floats("network.conv.weight"), HALVES);
    assertSame(file.floats("network.variance"), LARGE);

    const gpu = await testGpu();
    const weight = gpu.zeros([2, 3], "weight");
    const variance = gpu.zeros([2], "variance");
    try {
      using checkpoint = new Checkpoint(output);
      checkpoint.restore(new Map([["conv.weight", weight], ["variance", variance]]), "network.");
      assertSame(await weight.read(), HALVES);
      assertSame(await variance.read(), LARGE);
      const config = { ...presetConfig("default"), seed: 5 };
      const state = { config, classes: ["road"], ownClasses: null, stage: "warmup", step: 7 };
      assert.deepEqual(checkpoint.state, { ...state, best: null }, "it knows no files");
    } finally {
      weight.release();
      variance.release();
    }
    const bytes = Deno.readFileSync(output);
    bytes[bytes.length - 1] ^= 1;
    Deno.writeFileSync(output, bytes);
    assert.throws(() => new Checkpoint(output), dataError("does not match its digest"));
  }));

Deno.test("a network with NaN, or over its own file, is not written in half the bytes", () =>
  withCheckpoint(Float32Array.of(1, 2, NaN, 4, 5, 6), (path, folder) => {
    const output = join(folder, "small.safetensors");
    const same = (config: ReturnType<typeof presetConfig>) => config;
    assert.throws(() => writeHalfCheckpoint(path, output, same), dataError(path, "NaN"));
    assert.throws(() => writeHalfCheckpoint(path, path, same), dataError(path));
    assert.deepEqual([...Deno.readDirSync(folder)].length, 1);
  }));
