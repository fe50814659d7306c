// A checkpoint's digest counts wherever its weights are opened.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AnyArray } from "../../../kernels/runtime/mod.ts";
import { writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import { convertWeights } from "../../../train/networks/convert.ts";
import { writeOnnx } from "../../../train/networks/export_onnx.ts";
import { isCheckpoint, openWeights } from "../../../train/networks/weights_file.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { assertSame } from "../../_same.ts";

/** A checkpoint of two arrays. */
async function write(path: string): Promise<Uint8Array> {
  const gpu = await testGpu();
  using weight = gpu.upload(Float32Array.of(1, -2, 3, -4, 5, -6), [2, 3], "weight");
  using bias = gpu.upload(Float32Array.of(7, 8), [2], "bias");
  const arrays = new Map<string, AnyArray>([["network.weight", weight], ["network.bias", bias]]);
  await writeCheckpoint(path, arrays, { step: 3 });
  return Deno.readFileSync(path);
}

Deno.test("any flipped bit of a checkpoint is found before it is converted, listed or loaded", () =>
  withFolder(async (folder) => {
    const path = join(folder, "c.safetensors");
    const sound = await write(path);
    openWeights(path)[Symbol.dispose]();
    assert.ok(isCheckpoint(path));
    for (let at = 0; at < sound.length; at++) {
      const damaged = sound.slice();
      damaged[at] ^= 1 << (at % 7);
      Deno.writeFileSync(path, damaged);
      assert.throws(() => openWeights(path)[Symbol.dispose](), dataError(path), `byte ${at}`);
      assert.ok(isCheckpoint(path), `byte ${at}`);
    }
    const inWeights = sound.slice();
    inWeights[sound.length - 9] ^= 4;
    Deno.writeFileSync(path, inWeights);
    const output = join(folder, "out.safetensors");
    for (const args of [[path, output], ["--list", path]]) {
      const { code, stdout, stderr } = await runProgram("convert", ...args);
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /^Cannot open checkpoint .*c\.safetensors as .* digest[^\n]*\n$/);
    }
    assert.deepEqual(namesIn(folder), ["c.safetensors"]);
  }));

Deno.test("a file that is read is never written over", () =>
  withFolder(async (folder) => {
    const path = join(folder, "c.safetensors");
    const sound = await write(path);
    Deno.symlinkSync(folder, join(folder, "same"));
    for (const output of [path, join(folder, "same", "c.safetensors")]) {
      const expected = dataError(output, "the file that is read", "another path");
      using file = openWeights(path);
      assert.throws(() => convertWeights(file, output), expected);
      assert.throws(() => writeOnnx(path, output), expected);
    }
    assertSame(Deno.readFileSync(path), sound);
    assert.deepEqual(namesIn(folder), ["c.safetensors", "same"]);
  }));
