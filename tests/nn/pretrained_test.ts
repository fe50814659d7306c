import assert from "node:assert/strict";
import { DeepLab } from "../../nn/deeplab.ts";
import { findNetwork, loadPretrained, SeveralNetworksError } from "../../nn/pretrained.ts";
import { WeightsMismatchError } from "../../nn/formats/weights_error.ts";
import type { WeightsFile } from "../../nn/formats/weights_file.ts";
import { testGpu } from "../_device.ts";
import { assertSame } from "../_same.ts";

const SHAPE = { blocks: [2, 1, 1, 1], width: 4, classes: 3, headChannels: 4, groups: 2 } as const;

/** A file of arrays whose every number is the array's place in it. */
function fileOf(shapes: Iterable<readonly [string, readonly number[]]>): WeightsFile {
  const entries = new Map(
    [...shapes].map(([name, shape]) => [name, { dtype: "F32", shape } as const]),
  );
  const floats = (name: string) => {
    const { shape } = entries.get(name) ?? assert.fail(`${name} was read`);
    const index = [...entries.keys()].indexOf(name);
    return new Float32Array(shape.reduce((size, length) => size * length, 1)).fill(index);
  };
  return { entries, floats, bytes: (name) => new Uint8Array(floats(name).buffer) };
}

/** The names and shapes of the small network's weights. */
async function shapes(featureNorm = false): Promise<[string, readonly number[]][]> {
  using network = new DeepLab(await testGpu(), { ...SHAPE, featureNorm, init: "none" });
  return [...network.stateDict()].map(([name, { shape }]) => [name, shape]);
}

async function assertLoads(
  file: WeightsFile,
  part: "network" | "backbone",
  theirName: (name: string) => string,
): Promise<void> {
  using network = new DeepLab(await testGpu(), { ...SHAPE, seed: 1 });
  const before = new Map<string, Float32Array>();
  for (const [name, array] of network.stateDict()) before.set(name, await array.read());
  const { loaded } = loadPretrained(network, file, { part });
  const names = [...file.entries.keys()];
  let count = 0;
  for (const [name, array] of network.stateDict()) {
    const values = await array.read();
    if (part === "backbone" && name.startsWith("layer5.")) {
      assertSame(values, before.get(name), name);
      continue;
    }
    count++;
    assert.ok(values.every((value) => value === names.indexOf(theirName(name))), name);
  }
  assert.equal(loaded.length, count);
}

Deno.test("a network loads under any prefix, past other things in the file", async () => {
  const own = await shapes();
  for (const prefix of ["", "module.", "ResNet101.model_state.", "state_dict.module."]) {
    const file = fileOf([
      ...(prefix === "" ? [] : [["optimizer.state.0.momentum_buffer", [3]] as const]),
      ...own.map(([name, shape]) => [prefix + name, shape] as const),
      [`${prefix}bn1.num_batches_tracked`, []],
    ]);
    assert.equal(findNetwork(file).prefix, prefix);
    await assertLoads(file, "network", (name) => prefix + name);
  }
});

Deno.test("of several networks in a file the trained one is taken, or the one that is named", async () => {
  const own = await shapes();
  const under = (...prefixes: string[]) =>
    fileOf(
      prefixes.flatMap((prefix) => own.map(([name, shape]) => [prefix + name, shape] as const)),
    );
  assert.equal(findNetwork(under("encoder.", "network.", "momentum.")).prefix, "network.");
  assert.equal(
    findNetwork(under("ResNet101.ema.", "ResNet101.model_state.")).prefix,
    "ResNet101.model_state.",
  );
  assert.throws(
    () => findNetwork(under("a.", "b."), { from: "weights x.pth" }),
    {
      constructor: SeveralNetworksError,
      prefixes: ["a.", "b."],
      message:
        'Cannot load weights x.pth as they hold several networks, under "a.", "b.": give one as the option prefix',
    },
  );
  assert.equal(findNetwork(under("a.", "b."), { prefix: "b." }).prefix, "b.");
});

Deno.test("torchvision's names give the backbone; its classifier is passed over", async () => {
  const own = (await shapes()).filter(([name]) => !name.startsWith("layer5."));
  const file = fileOf([...own, ["fc.weight", [1000, 128]], ["fc.bias", [1000]]]);
  await assertLoads(file, "backbone", (name) => name);
  using network = new DeepLab(await testGpu(), { ...SHAPE, init: "none" });
  assert.deepEqual(loadPretrained(network, file, { part: "backbone" }).unexpected, [
    "fc.weight",
    "fc.bias",
  ]);
});

Deno.test("the names of converted SimCLRv2 weights give the backbone", async () => {
  const simclr = (name: string) => {
    const parts = name.split(".");
    const value = parts.at(-1);
    if (parts[0] === "conv1") return "resnet.net.0.net.0.weight";
    if (parts[0] === "bn1") return `resnet.net.0.net.1.0.${value}`;
    const block = `resnet.net.${parts[0].slice(-1)}.net.${parts[1]}`;
    if (parts[2] === "downsample") {
      return parts[3] === "0"
        ? `${block}.projection.shortcut.weight`
        : `${block}.projection.bn.0.${value}`;
    }
    const index = 2 * (Number(parts[2].slice(-1)) - 1);
    return parts[2].startsWith("conv")
      ? `${block}.net.${index}.weight`
      : `${block}.net.${index + 1}.0.${value}`;
  };
  const own = (await shapes()).filter(([name]) => !name.startsWith("layer5."));
  const file = fileOf([
    ...own.map(([name, shape]) => [simclr(name), shape] as const),
    ["resnet.fc.weight", [1000, 128]],
    ["resnet.fc.bias", [1000]],
    ["head.layers.0.weight", [128, 128]],
  ]);
  await assertLoads(file, "backbone", simclr);
});

Deno.test("a backbone loads into a network with a feature norm, which keeps its start", async () => {
  const file = fileOf((await shapes()).filter(([name]) => !name.startsWith("layer5.")));
  using network = new DeepLab(await testGpu(), { ...SHAPE, featureNorm: true });
  loadPretrained(network, file, { part: "backbone" });
  const norm = network.stateDict().get("bn_pretrain.weight") ?? assert.fail();
  assert.ok((await norm.read()).every((value) => value === 1));
});

Deno.test("what does not fit is listed in a table, and nothing is loaded", async () => {
  const own = await shapes();
  const file = fileOf([
    ...own.filter(([name]) => !/^layer4.0.bn1/.test(name) && name !== "conv1.weight"),
    ["conv1.weight", [64, 3, 7, 7]],
    ["layer4.1.conv1.weight", [1]],
    ["fc.weight", [1000, 2048]],
  ]);
  using network = new DeepLab(await testGpu(), SHAPE);
  const stem = network.stateDict().get("bn1.bias") ?? assert.fail();
  assert.throws(() => loadPretrained(network, file, { part: "backbone", from: "weights x.pth" }), {
    name: "TypeError",
    message:
      `Cannot load weights x.pth into the backbone as names or shapes differ, 4 missing, 1 unexpected, 1 misshaped:
  missing     layer4.0.bn1.weight
  missing     layer4.0.bn1.bias
  missing     layer4.0.bn1.running_mean
  missing     layer4.0.bn1.running_var
  unexpected  layer4.1.conv1.weight
  misshaped   conv1.weight  [64, 3, 7, 7] in the file, [4, 3, 7, 7] here`,
  });
  assert.ok((await stem.read()).every((value) => value === 0), "nothing was loaded");
  assert.throws(() => loadPretrained(network, file), WeightsMismatchError);
  assert.throws(() => loadPretrained(network, file), /5 missing|2 unexpected|fc\.weight/);
  assert.throws(() => loadPretrained(network, fileOf([["encoder.weight", [2]]])), {
    constructor: WeightsMismatchError,
    message:
      'Cannot load the weights as they hold no ResNet: expected names such as layer1.0.conv1.weight, found "encoder.weight"',
  });
});

Deno.test("a long table is cut", async () => {
  using network = new DeepLab(await testGpu(), SHAPE);
  const file = fileOf([["layer1.0.conv1.weight", [4, 4, 1, 1]]]);
  assert.throws(() => loadPretrained(network, file), (error: Error) => {
    const lines = error.message.split("\n");
    assert.equal(lines.length, 14);
    assert.match(lines[13], /^ {2}and \d+ more$/);
    return true;
  });
});
