import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { deepLabShape } from "../../../nn/deeplab_shape.ts";
import { loadTrainedNetwork, openNetwork } from "../../../train/networks/trained_network.ts";
import { loadBackbone } from "../../../train/run/starts.ts";
import { RunFolder } from "../../../train/run/run_folder.ts";
import { convertWeights } from "../../../train/networks/convert.ts";
import { writeOnnx } from "../../../train/networks/export_onnx.ts";
import {
  loadWeights,
  openWeights,
  startFromWeights,
} from "../../../train/networks/weights_file.ts";
import { DataError } from "../../../train/base/data_error.ts";
import { presetConfig } from "../../../train/config/config.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { testGpu } from "../../_device.ts";
import { filledNetwork, SMALL, stateValues, writeTorch } from "../_foreign.ts";
import { dataError, withFolder } from "../_folder.ts";
import { assertSame } from "../../_same.ts";

const BACKBONE = /^(conv1|bn1|layer[1-4])\./;

Deno.test("a network from a PyTorch file has the shape and the weights of the one that was saved", () =>
  withFolder(async (folder) => {
    const path = join(folder, "proda.pth");
    const config = join(folder, "config.json");
    Deno.writeTextFileSync(config, JSON.stringify({ network: { dilations: [1, 2] } }));
    const cases = [
      { options: SMALL, config: undefined },
      { options: { ...SMALL, classes: 16, featureNorm: true }, config: undefined },
      { options: { ...SMALL, classes: 13, head: "classic", dilations: [1, 2] } as const, config },
    ];
    for (const { options, config } of cases) {
      using saved = await filledNetwork(options);
      await writeTorch(path, saved, { prefix: "ResNet101.model_state.module." });
      using trained = loadTrainedNetwork(await testGpu(), path, config);
      assertSame(await stateValues(trained.network), await stateValues(saved));
      assert.equal(trained.classes.names.length, options.classes);
      assert.equal(trained.classes.names.includes("wall"), options.classes !== 13);
      assert.equal(trained.network.training, false);
      assert.equal(trained.config.data.longSide, presetConfig("full").data.longSide);
    }
  }));

Deno.test("what weights do not tell has to be said", () =>
  withFolder(async (folder) => {
    const [path, config] = [join(folder, "w.pth"), join(folder, "config.json")];
    const say = (values: unknown) => Deno.writeTextFileSync(config, JSON.stringify(values));
    {
      using streets = await filledNetwork({ ...SMALL, classes: 2 });
      await writeTorch(path, streets);
    }
    assert.throws(
      () => openNetwork(path),
      dataError(path, "their 2 classes have no names", "configuration file"),
    );
    say({ data: { classes: ["sky", "road"] } });
    {
      using file = openNetwork(path, config);
      assert.deepEqual(file.classes.names, ["sky", "road"]);
    }
    using small = await filledNetwork({ ...SMALL, headChannels: 6, groups: 3, dilations: [1, 2] });
    await writeTorch(path, small);
    assert.throws(() => openNetwork(path), dataError(path, "network.groups cannot be told"));
    say({ network: { groups: 3 } });
    assert.throws(
      () => openNetwork(path, config),
      dataError("network.dilations cannot be told", "2 branches"),
    );
    say({ network: { groups: 3, dilations: [1, 2] } });
    using file = openNetwork(path, config);
    assert.deepEqual([file.network.groups, file.network.dilations], [3, [1, 2]]);
  }));

Deno.test("weights of a backbone are no network to predict with", () =>
  withFolder(async (folder) => {
    const path = join(folder, "resnet.pth");
    using network = await filledNetwork();
    await writeTorch(path, network, { only: BACKBONE });
    assert.throws(
      () => openNetwork(path),
      dataError("Cannot tell the shape of the network as layer5.conv2d_list.0.weight is missing"),
    );
    assert.throws(
      () => openNetwork(join(folder, "none.pth")),
      dataError("none.pth", "it does not exist"),
    );
  }));

Deno.test("a file of several networks has to be made one of a single one", () =>
  withFolder(async (folder) => {
    const [path, one] = [join(folder, "both.pth"), join(folder, "one.safetensors")];
    using network = await filledNetwork();
    await writeTorch(path, network, { prefix: ["student.", "teacher."] });
    const advice = dataError(
      `Cannot use weights ${path} as they hold several networks, under student., teacher.; ` +
        'make a file of one of them: convert takes its name as the option "only"',
    );
    assert.throws(() => openNetwork(path), advice);
    assert.throws(() => loadWeights(network, path), advice);
    {
      using file = openWeights(path);
      convertWeights(file, one, { only: "teacher" });
    }
    assert.ok(loadWeights(network, one).loaded.length > 0);
  }));

Deno.test("an array that is damaged is the fault of the file, which is named", () =>
  withFolder(async (folder) => {
    const path = join(folder, "w.pth");
    using network = await filledNetwork();
    await writeTorch(path, network);
    const bytes = Deno.readFileSync(path);
    const value = new Uint8Array((await network.stateDict().get("conv1.weight")!.read()).buffer);
    const at = Buffer.from(bytes.buffer).indexOf(value.subarray(0, 64));
    assert.ok(at > 0);
    bytes[at] ^= 1;
    Deno.writeFileSync(path, bytes);
    const damaged = dataError(`Cannot read weights ${path} as its `, "does not match its checksum");
    assert.throws(() => loadWeights(network, path), damaged);
    const gpu = await testGpu();
    assert.throws(() => loadTrainedNetwork(gpu, path), damaged);
    assert.throws(() => writeOnnx(path, join(folder, "w.onnx")), damaged);
  }));

Deno.test("a run starts from all that weights have", () =>
  withFolder(async (folder) => {
    const path = join(folder, "w.pth");
    using saved = await filledNetwork({ ...SMALL, featureNorm: true });
    const expected = await stateValues(saved);
    const gpu = await testGpu();
    const create = (featureNorm: boolean) => new DeepLab(gpu, { ...SMALL, featureNorm, seed: 3 });
    await writeTorch(path, saved, { prefix: "module." });
    {
      using network = startFromWeights(path, create);
      assertSame(await stateValues(network), expected);
    }
    await writeTorch(path, saved, { only: BACKBONE });
    using network = startFromWeights(path, create);
    using fresh = create(false);
    const untouched = await stateValues(fresh);
    for (const [name, values] of await stateValues(network)) {
      assertSame(values, (BACKBONE.test(name) ? expected : untouched).get(name), name);
    }
    const before = gpu.memory.live;
    const other = (featureNorm: boolean) => new DeepLab(gpu, { ...SMALL, width: 8, featureNorm });
    assert.throws(() => startFromWeights(path, other), (error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, /^Cannot load weights .*w\.pth into the backbone as /);
      assert.match(error.message, /^ {2}misshaped {3}conv1\.weight {2}\[4, 3, 7, 7\] in the file/m);
      return true;
    });
    assert.equal(gpu.memory.live, before, "nothing is left of the network that did not fit");
  }));

Deno.test("a student starts from a file in the place of stage selfsup", () =>
  withFolder(async (folder) => {
    const path = join(folder, "simclr.pth");
    using saved = await filledNetwork();
    await writeTorch(path, saved, { prefix: "resnet.", only: BACKBONE });
    const expected = await stateValues(saved);
    const gpu = await testGpu();
    using student = new DeepLab(gpu, { ...SMALL, featureNorm: true, seed: 2 });
    const before = await stateValues(student);
    const config = presetConfig("quick");
    config.stages.selfsup.weights = path;
    using run = RunFolder.create(join(folder, "run"), config);
    loadBackbone({ config, folder: run }, student, "selfsup");
    for (const [name, values] of await stateValues(student)) {
      assertSame(values, (BACKBONE.test(name) ? expected : before).get(name), name);
    }
  }));

Deno.test("the shape of a network is read off its names", async () => {
  using network = await filledNetwork({ ...SMALL, featureNorm: true });
  const state = network.stateDict();
  assert.deepEqual(deepLabShape((name) => state.get(name)?.shape), {
    blocks: [1, 2, 1, 1],
    width: 4,
    featureNorm: true,
    head: "proda",
    classes: 19,
    headChannels: 32,
    branches: 4,
  });
});
