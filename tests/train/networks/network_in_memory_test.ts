// Networks from bytes in memory: the same as from files, and what is refused.

import assert from "node:assert/strict";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { arrayBytes } from "../../../nn/formats/safetensors.ts";
import { WeightsFileError } from "../../../nn/formats/weights_error.ts";
import { DataError } from "../../../train/base/data_error.ts";
import { presetConfig } from "../../../train/config/config.ts";
import { STREETS_CLASSES } from "../../../train/data/class_set.ts";
import { checkpointBytes, writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import { DamagedCheckpointError } from "../../../train/networks/checkpoint_metadata.ts";
import { networkFromBytes } from "../../../train/networks/network_in_memory.ts";
import { savedClasses } from "../../../train/networks/saved_classes.ts";
import { shippedNetworks } from "../../../train/networks/shipped.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { testGpu } from "../../_device.ts";
import { assertSame } from "../../_same.ts";
import { withFolder } from "../_folder.ts";

async function weightsOf(network: DeepLab): Promise<Map<string, unknown>> {
  const state = network.stateDict();
  const values = await network.gpu.readAll([...state.values()]);
  return new Map([...state.keys()].map((name, at) => [name, values[at]]));
}

/** Opens the same file both ways and compares all that they say. */
async function assertOpensAlike(path: string): Promise<void> {
  const gpu = await testGpu();
  using expected = loadTrainedNetwork(gpu, path);
  using found = await networkFromBytes(gpu, Deno.readFileSync(path), path);
  assertSame(await weightsOf(found.network), await weightsOf(expected.network));
  assert.deepEqual(found.classes, expected.classes);
  assert.equal(found.longSide, expected.config.data.longSide);
  assert.deepEqual([found.stage, found.step], [expected.stage, expected.step]);
  const images = gpu.upload(
    Float32Array.from({ length: 3 * 24 * 40 }, (_, at) => (at * 7919 % 1000) / 1000),
    [1, 3, 24, 40],
    "images",
  );
  const logits = await Promise.all([found, expected].map(({ network }) => read(network, images)));
  assertSame(logits[0], logits[1]);
  images.release();
}

async function read(network: DeepLab, images: Parameters<typeof input>[0]): Promise<Float32Array> {
  using logits = noGrad(() => scope(() => network.forward(input(images)).logits.array.retain()));
  return await logits.read();
}

Deno.test("a network from bytes is the one from the file, of 16-bit numbers", async () => {
  for (const { path } of shippedNetworks()) await assertOpensAlike(path);
});

Deno.test("a network from a training's own checkpoint opens too: 32 bits, other arrays beside it, classes of its own", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = presetConfig("default");
    const network = { ...config.network, groups: 4, dilations: [1, 3], headChannels: 16 };
    const classes = {
      ...STREETS_CLASSES,
      names: ["land", "water"],
      palette: [[1, 2, 3], [4, 5, 6]] as [number, number, number][],
      labelIds: [1, 2],
      unlabelled: 255,
    };
    for (const featureNorm of [false, true]) {
      using made = new DeepLab(gpu, { ...network, classes: 2, featureNorm, seed: 5 });
      const state = made.stateDict();
      const arrays = new Map([
        ...[...state].map(([name, array]) => [`network.${name}`, array] as const),
        ...[...state].map(([name, array]) => [`encoder.${name}`, array] as const),
      ]);
      const path = join(folder, `${featureNorm}.safetensors`);
      await writeCheckpoint(path, arrays, {
        config: { ...config, network, data: { ...config.data, longSide: 96 } },
        classes: classes.names,
        ownClasses: savedClasses(classes),
        stage: "stage2",
        step: 12,
      });
      await assertOpensAlike(path);
    }
  }));

Deno.test("bytes that are no sound checkpoint of a network are refused in a sentence", async () => {
  const gpu = await testGpu();
  const open = (bytes: Uint8Array<ArrayBuffer>) => networkFromBytes(gpu, bytes, "my file");
  const [{ path }] = shippedNetworks();
  const sound = Deno.readFileSync(path);
  for (const at of [20, 3000, sound.length - 1]) {
    const damaged = sound.slice();
    damaged[at] ^= 1;
    await assert.rejects(
      open(damaged),
      (error: Error) => error instanceof DataError && /my file/.test(error.message),
    );
  }
  await assert.rejects(open(sound.slice(0, -1)), DamagedCheckpointError);
  await assert.rejects(open(new Uint8Array(3)), DamagedCheckpointError);
  const weight = {
    name: "network.a",
    shape: [1],
    dtype: "F32",
    data: arrayBytes(Float32Array.of(1)),
  } as const;
  const config = presetConfig("default");
  for (
    const [state, reason] of [
      [{}, /groups, dilations and long side/],
      [{ config }, /names no classes/],
      [{ config, classes: ["ghost"] }, /the class "ghost"/],
      [{ config, classes: ["road"] }, /conv1.weight is missing/],
    ] as const
  ) {
    await assert.rejects(
      open(checkpointBytes([weight], state)),
      (error: Error) =>
        error instanceof DataError && !(error instanceof WeightsFileError) &&
        reason.test(error.message),
    );
  }
});
