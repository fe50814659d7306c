import assert from "node:assert/strict";
import { join } from "node:path";
import type { AnyArray, Gpu } from "../../../kernels/runtime/mod.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import {
  Checkpoint,
  DamagedCheckpointError,
  writeCheckpoint,
} from "../../../train/networks/checkpoint.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { assertSame } from "../../_same.ts";

const WEIGHT = Float32Array.of(1, -2.5, 3e-39, Infinity, NaN, -0);
const COUNTS = Uint32Array.of(0, 0xffffffff, 7);
const STATE = { step: 12, config: { seed: 2 ** 40, classes: ["road", "größe"], rate: 2.5e-4 } };

function makeArrays(gpu: Gpu): Map<string, AnyArray> {
  return new Map<string, AnyArray>([
    ["network.conv.weight", gpu.upload(WEIGHT, [2, 3], "weight")],
    ["network.bias", gpu.upload(Float32Array.of(5), [], "bias")],
    ["prototypes.counts", gpu.upload(COUNTS, [3], "counts")],
  ]);
}

/** Runs `body` with a written checkpoint, its arrays, and a folder that has nothing else in it. */
async function withCheckpoint(
  body: (path: string, arrays: Map<string, AnyArray>, gpu: Gpu) => Promise<void>,
): Promise<void> {
  const gpu = await testGpu();
  const arrays = makeArrays(gpu);
  try {
    await withFolder(async (folder) => {
      const path = join(folder, "last.safetensors");
      await writeCheckpoint(path, arrays, STATE);
      assert.deepEqual(namesIn(folder), ["last.safetensors"]);
      await body(path, arrays, gpu);
    });
  } finally {
    for (const array of arrays.values()) array.release();
  }
}

/** The bits, so that NaN and −0 compare. */
const bits = (data: Float32Array | Uint32Array) => [...new Uint32Array(data.slice().buffer)];

Deno.test("arrays come back bit by bit and the state as it was", () =>
  withCheckpoint(async (path, arrays, gpu) => {
    for (const array of arrays.values()) gpu.clear(array);
    using checkpoint = new Checkpoint(path);
    checkpoint.restore(arrays);
    const [weight, bias, counts] = await gpu.readAll([...arrays.values()]);
    assert.deepEqual(bits(weight), bits(WEIGHT));
    assert.deepEqual([...bias], [5]);
    assert.deepEqual([...counts], [...COUNTS]);
    assert.deepEqual(checkpoint.state, STATE);
  }));

Deno.test("a prefix restores the network alone", () =>
  withCheckpoint(async (path, arrays, gpu) => {
    const [weight, bias, counts] = [...arrays.values()];
    for (const array of arrays.values()) gpu.clear(array);
    using checkpoint = new Checkpoint(path);
    checkpoint.restore(new Map([["conv.weight", weight], ["bias", bias]]), "network.");
    assert.deepEqual(bits(await weight.read()), bits(WEIGHT));
    assert.deepEqual([...await counts.read()], [0, 0, 0], "the prototypes are left alone");
  }));

Deno.test("the file is plain safetensors to any other reader", () =>
  withCheckpoint((path) => {
    const file = new Safetensors(Deno.readFileSync(path));
    assert.deepEqual(bits(file.floats("network.conv.weight")), bits(WEIGHT));
    return Promise.resolve();
  }));

Deno.test("a checkpoint of another network is refused in one sentence and changes nothing", () =>
  withCheckpoint(async (path, arrays, gpu) => {
    using checkpoint = new Checkpoint(path);
    using other = gpu.zeros([3, 3], "other");
    const counts = arrays.get("prototypes.counts") as AnyArray;
    gpu.clear(counts);
    const wanted = new Map([
      ["network.conv.weight", other],
      ["network.extra", other],
      ["prototypes.counts", counts],
    ]);
    assert.throws(
      () => checkpoint.restore(wanted),
      dataError(
        path,
        "network.conv.weight is f32 [2, 3] in it and f32 [3, 3] here",
        "network.extra is missing in it",
        "network.bias is in it only",
      ),
    );
    assert.deepEqual([...await counts.read()], [0, 0, 0]);
    using floats = gpu.zeros([3], "floats");
    assert.throws(
      () => checkpoint.restore(new Map([["counts", floats]]), "prototypes."),
      dataError("counts is u32 [3] in it and f32 [3] here"),
    );
  }));

Deno.test("any flipped bit and any cut is found when the checkpoint is opened", () =>
  withCheckpoint((path) => {
    const sound = Deno.readFileSync(path);
    for (let at = 0; at < sound.length; at += 3) {
      const damaged = sound.slice();
      damaged[at] ^= 1 << (at % 8);
      Deno.writeFileSync(path, damaged);
      assert.throws(() => new Checkpoint(path), dataError("Cannot open checkpoint", path));
    }
    for (const length of [0, 7, 60, sound.length - 1]) {
      Deno.writeFileSync(path, sound.subarray(0, length));
      assert.throws(() => new Checkpoint(path), dataError("Cannot open checkpoint", path));
    }
    Deno.writeFileSync(path, sound);
    new Checkpoint(path)[Symbol.dispose]();
    return Promise.resolve();
  }));

Deno.test("other weights, other versions and missing files are no checkpoints", () =>
  withFolder((folder) => {
    const path = join(folder, "w.safetensors");
    assert.throws(() => new Checkpoint(path), dataError(path, "it does not exist"));
    const arrays = new Map([["a", { shape: [1], data: Float32Array.of(1) }]]);
    Deno.writeFileSync(path, writeSafetensors(arrays));
    assert.throws(() => new Checkpoint(path), dataError(path, "no checkpoint metadata"));
    Deno.writeFileSync(path, writeSafetensors(arrays, { checkpoint: "2" }));
    assert.throws(() => new Checkpoint(path), dataError("version 2: expected version 1"));
  }));

Deno.test("a checkpoint that cannot be finished leaves the earlier one as it was", () =>
  withCheckpoint(async (path, arrays, gpu) => {
    const before = Deno.readFileSync(path);
    const released = gpu.zeros([1], "released");
    released.release();
    const broken = new Map([...arrays, ["network.late", released]]);
    await assert.rejects(writeCheckpoint(path, broken, { step: 13 }), /released/);
    assertSame(Deno.readFileSync(path), before);
    assert.deepEqual(namesIn(join(path, "..")), ["last.safetensors"]);
  }));

Deno.test("only a checkpoint whose bytes have changed is called damaged", () =>
  withCheckpoint((path) => {
    const sound = Deno.readFileSync(path);
    const isDamaged = () => {
      try {
        new Checkpoint(path)[Symbol.dispose]();
        return false;
      } catch (error) {
        return error instanceof DamagedCheckpointError;
      }
    };
    assert.equal(isDamaged(), false);
    for (let at = 0; at < sound.length; at += 5) {
      const damaged = sound.slice();
      damaged[at] ^= 1 << (at % 8);
      Deno.writeFileSync(path, damaged);
      assert.ok(isDamaged(), `byte ${at}`);
    }
    for (const length of [0, 7, 60, sound.length - 1]) {
      Deno.writeFileSync(path, sound.subarray(0, length));
      assert.ok(isDamaged(), `${length} bytes`);
    }
    Deno.writeFileSync(path, writeSafetensors(new Map()));
    assert.equal(isDamaged(), false, "weights of another program");
    Deno.removeSync(path);
    assert.equal(isDamaged(), false, "nothing");
    Deno.mkdirSync(path);
    assert.equal(isDamaged(), false, "a folder");
    return Promise.resolve();
  }));
