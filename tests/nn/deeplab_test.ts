import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import { Discriminator } from "../../nn/discriminator.ts";
import { mean } from "../../nn/functional/elementwise.ts";
import { BatchNorm2d, GroupNorm } from "../../nn/layers.ts";
import { backward, noGrad, scope } from "../../nn/tape.ts";
import { type Tensor, tensor } from "../../nn/tensor.ts";
import { testGpu } from "../_device.ts";
import { Fill } from "../goldens/fill.ts";
import { assertSame } from "../_same.ts";

const TINY = {
  blocks: [1, 1, 1, 1],
  width: 4,
  classes: 3,
  headChannels: 8,
  groups: 4,
} satisfies DeepLabOptions;

function imagesOf(gpu: Gpu, height: number, width: number): Tensor {
  const data = new Fill("deeplab").signed("images", 2 * 3 * height * width);
  return tensor(gpu, data, [2, 3, height, width]);
}

/** Logits of a forward with dropout at a step. */
async function logitsOf(network: DeepLab, images: Tensor): Promise<Float32Array> {
  using logits = scope(() => noGrad(() => network.forward(images).logits));
  return await logits.read();
}

Deno.test("the official network has the official names and shapes", async () => {
  const gpu = await testGpu();
  // An eighth of the official width: names are the same.
  const network = new DeepLab(gpu, { classes: 19, width: 8, featureNorm: true, init: "none" });
  const state = network.stateDict();
  const shapes = (names: string[]) => names.map((name) => [name, state.get(name)?.shape]);
  assert.deepEqual(
    shapes([
      "conv1.weight",
      "bn1.running_var",
      "layer1.0.conv1.weight",
      "layer1.0.downsample.0.weight",
      "layer1.0.downsample.1.running_mean",
      "layer2.3.conv2.weight",
      "layer3.22.bn3.bias",
      "layer4.0.downsample.0.weight",
      "layer5.conv2d_list.0.0.weight",
      "layer5.conv2d_list.4.0.bias",
      "layer5.conv2d_list.4.1.weight",
      "layer5.bottleneck.0.se.0.weight",
      "layer5.bottleneck.0.se.2.bias",
      "layer5.bottleneck.1.weight",
      "layer5.bottleneck.2.bias",
      "layer5.head.1.weight",
      "bn_pretrain.weight",
    ]),
    [
      ["conv1.weight", [8, 3, 7, 7]],
      ["bn1.running_var", [8]],
      ["layer1.0.conv1.weight", [8, 8, 1, 1]],
      ["layer1.0.downsample.0.weight", [32, 8, 1, 1]],
      ["layer1.0.downsample.1.running_mean", [32]],
      ["layer2.3.conv2.weight", [16, 16, 3, 3]],
      ["layer3.22.bn3.bias", [128]],
      ["layer4.0.downsample.0.weight", [256, 128, 1, 1]],
      ["layer5.conv2d_list.0.0.weight", [256, 256, 1, 1]],
      ["layer5.conv2d_list.4.0.bias", [256]],
      ["layer5.conv2d_list.4.1.weight", [256]],
      ["layer5.bottleneck.0.se.0.weight", [80, 1280]],
      ["layer5.bottleneck.0.se.2.bias", [1280]],
      ["layer5.bottleneck.1.weight", [256, 1280, 3, 3]],
      ["layer5.bottleneck.2.bias", [256]],
      ["layer5.head.1.weight", [19, 256, 1, 1]],
      ["bn_pretrain.weight", [256]],
    ],
  );
  // 104 convolutions with norms in the backbone, 29 arrays in the head, one norm between them.
  assert.equal(network.namedParameters().size, 104 * 3 + 29 + 2);
  assert.equal(network.namedBuffers().size, (104 + 1) * 2);
  assert.ok(![...state.keys()].some((name) => /layer\d\.[1-9]\d*\.downsample/.test(name)));
  network.dispose();
});

for (
  const { head, featureNorm, size, expected, channels } of [
    { head: "proda", featureNorm: false, size: [33, 49], expected: [5, 7], channels: 8 },
    { head: "proda", featureNorm: true, size: [16, 30], expected: [3, 4], channels: 8 },
    { head: "classic", featureNorm: false, size: [34, 20], expected: [5, 3], channels: 128 },
  ] as const
) {
  Deno.test(`a DeepLab with ${head} head${featureNorm ? " and feature norm" : ""} maps ${size} to ${expected}`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const network = new DeepLab(gpu, { ...TINY, head, featureNorm });
    const [height, width] = size;
    const images = imagesOf(gpu, height, width);
    const { features, logits } = scope(() => network.forward(images));
    assert.deepEqual([...features.shape], [2, channels, ...expected]);
    assert.deepEqual([...logits.shape], [2, 3, ...expected]);
    assert.equal(network.featureChannels, channels);
    assert.ok((await logits.read()).some((value) => value !== 0));
    for (const used of [features, logits, images, network]) used.dispose();
    assert.equal(gpu.memory.live, before, "bytes left behind");
  });
}

Deno.test("a backward outside of any scope leaves gradients and nothing else", async () => {
  const gpu = await testGpu();
  const images = imagesOf(gpu, 33, 49);
  const network = new DeepLab(gpu, TINY);
  const before = bytesHeld(gpu);
  const { features, logits } = network.forward(images);
  const loss = mean(logits);
  backward(loss);
  for (const made of [features, logits, loss]) made.dispose();
  for (const [name, { grad }] of network.namedParameters()) {
    assert.ok(grad, `${name} has a gradient`);
  }
  network.zeroGrad();
  assert.equal(bytesHeld(gpu), before, "bytes left behind");
  network.dispose();
  images.dispose();
});

Deno.test("a forward without recording keeps no activations", async () => {
  const gpu = await testGpu();
  const images = imagesOf(gpu, 65, 97);
  const network = new DeepLab(gpu, TINY);
  const held = (run: () => Tensor) => {
    const before = bytesHeld(gpu);
    const logits = run();
    const bytes = bytesHeld(gpu) - before;
    logits.dispose();
    return { bytes, logits };
  };
  const plain = held(() => scope(() => noGrad(() => network.forward(images).logits)));
  assert.equal(plain.bytes, sizeOf(gpu, plain.logits));
  let recorded = 0;
  scope(() => {
    recorded = held(() => network.forward(images).logits).bytes;
  });
  assert.ok(recorded > 20 * plain.bytes, "recording keeps what the backward needs");
  network.dispose();
  images.dispose();
});

/** Live bytes, less those of packed weights, which stay until the weights change. */
function bytesHeld({ memory: { live, derived } }: Gpu): number {
  return live - derived;
}

/** What the pool takes for a tensor of that size. */
function sizeOf(gpu: Gpu, { shape }: Tensor): number {
  const before = gpu.memory.live;
  const array = gpu.empty(shape, "size");
  const bytes = gpu.memory.live - before;
  array.release();
  return bytes;
}

Deno.test("dropout repeats with its counters and differs between steps, seeds and passes", async () => {
  const gpu = await testGpu();
  using images = imagesOf(gpu, 33, 49);
  using network = new DeepLab(gpu, { ...TINY, headChannels: 32, groups: 4, dropout: 0.5 });
  const at = (seed: number, step: number) => {
    network.setStep(seed, step);
    return logitsOf(network, images);
  };
  const first = await at(1, 1);
  const second = await logitsOf(network, images);
  assert.notDeepEqual(first, second, "two passes of a step");
  assertSame(await at(1, 1), first);
  assertSame(await logitsOf(network, images), second);
  assert.notDeepEqual(await at(1, 2), first);
  assert.notDeepEqual(await at(2, 1), first);
  assertSame(await at(1 + 2 ** 32, 1), first, "the low 32 bits of a seed count");
  network.eval();
  assertSame(await at(1, 1), await at(2, 2), "evaluation drops nothing");
});

Deno.test("evaluation leaves the running statistics alone, as frozen norms do in training", async () => {
  const gpu = await testGpu();
  using images = imagesOf(gpu, 33, 49);
  using network = new DeepLab(gpu, TINY);
  const statistics = async () => {
    const all: Record<string, Float32Array> = {};
    for (const [name, array] of network.namedBuffers()) all[name] = await array.read();
    return all;
  };
  const start = await statistics();
  network.eval();
  await logitsOf(network, images);
  assert.deepEqual(await statistics(), start);
  network.train();
  for (const [, module] of network.namedModules()) {
    if (module instanceof BatchNorm2d) module.frozen = true;
  }
  await logitsOf(network, images);
  assert.deepEqual(await statistics(), start);
  for (const [, module] of network.namedModules()) {
    if (module instanceof BatchNorm2d) module.frozen = false;
  }
  await logitsOf(network, images);
  for (const [name, values] of Object.entries(await statistics())) {
    assert.notDeepEqual(values, start[name], name);
  }
});

Deno.test("every parameter is in exactly one group", async () => {
  const gpu = await testGpu();
  using network = new DeepLab(gpu, { ...TINY, featureNorm: true, init: "none" });
  const { backbone, head } = network.parameterGroups();
  const all = network.namedParameters();
  assert.deepEqual([...backbone.keys(), ...head.keys()].sort(), [...all.keys()].sort());
  for (const [name, parameter] of [...backbone, ...head]) assert.equal(parameter, all.get(name));
  assert.ok([...head.keys()].every((name) => /^(layer5|bn_pretrain)\./.test(name)));
  assert.ok([...backbone.keys()].every((name) => /^(conv1|bn1|layer[1-4])\./.test(name)));
});

Deno.test("weights start from the seed, bit for bit", async () => {
  const gpu = await testGpu();
  const weight = async (options: Partial<DeepLabOptions>) => {
    using network = new DeepLab(gpu, { ...TINY, ...options });
    return await network.stateDict().get("layer3.0.conv2.weight")?.read();
  };
  assert.deepEqual(await weight({ seed: 5 }), await weight({ seed: 5 }));
  assert.notDeepEqual(await weight({ seed: 5 }), await weight({ seed: 6 }));
  assert.deepEqual(await weight({ seed: 5 }), await weight({ seed: 5, head: "classic" }));
});

const BACKBONE = 256; // channels at width 8
for (
  const { init, deviations } of [
    {
      init: "he",
      deviations: {
        "layer3.0.conv2.weight": Math.sqrt(2 / 288),
        "layer5.conv2d_list.1.0.weight": Math.sqrt(2 / (9 * BACKBONE)),
        "layer5.conv2d_list.1.0.bias": 0,
        "layer5.bottleneck.0.se.0.weight": Math.sqrt(2 / 320),
        "layer5.head.1.weight": 0.01,
      },
    },
    {
      init: "official",
      deviations: {
        "layer3.0.conv2.weight": 0.01,
        "layer5.conv2d_list.1.0.weight": 0.01,
        "layer5.conv2d_list.1.0.bias": Math.sqrt(1 / (3 * 9 * BACKBONE)),
        "layer5.bottleneck.0.se.0.weight": Math.sqrt(1 / (3 * 320)),
        "layer5.bottleneck.1.bias": 0,
        "layer5.head.1.weight": 0.01,
      },
    },
  ] as const
) {
  Deno.test(`weights start with the deviations of the scheme ${init}`, async () => {
    const gpu = await testGpu();
    using network = new DeepLab(gpu, {
      ...TINY,
      width: 8,
      headChannels: 64,
      groups: 4,
      classes: 19,
      init,
    });
    const state = network.stateDict();
    for (const [name, expected] of Object.entries(deviations)) {
      const values = await state.get(name)?.read();
      assert.ok(values, name);
      const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
      const found = Math.sqrt(square);
      // Four deviations of the estimate.
      const slack = 4 * expected / Math.sqrt(2 * values.length);
      assert.ok(Math.abs(found - expected) <= slack, `${name}: ${found}, expected ${expected}`);
    }
    assert.deepEqual(await state.get("bn1.weight")?.read(), new Float32Array(8).fill(1));
    assert.deepEqual(await state.get("bn1.running_var")?.read(), new Float32Array(8).fill(1));
    assert.deepEqual(await state.get("bn1.running_mean")?.read(), new Float32Array(8));
  });
}

const REFUSED: readonly [options: Partial<DeepLabOptions>, error: RegExp][] = [
  [
    { headChannels: 20, groups: 8 },
    /headChannels 20 and groups 8: groups must divide headChannels/,
  ],
  [{ blocks: [1, 1, 1] }, /blocks \[1, 1, 1\]: it takes four positive counts/],
  [{ blocks: [1, 0, 1, 1] }, /it takes four positive counts/],
  [{ width: 0 }, /width 0: it must be a positive integer/],
  [{ classes: 0 }, /classes 0: it takes a positive integer/],
  [{ classes: 2.5 }, /classes 2.5: it takes a positive integer/],
  [{ dilations: [] }, /dilations \[\]: it takes positive integers/],
  [{ dilations: [6, -1] }, /dilations \[6, -1\]/],
  [{ dropout: 1 }, /dropout 1: it must be in \[0, 1\)/],
];

Deno.test("options out of range are refused before anything is allocated", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  for (const [options, error] of REFUSED) {
    assert.throws(() => new DeepLab(gpu, { ...TINY, ...options }), (thrown: unknown) => {
      assert.ok(thrown instanceof RangeError);
      assert.match(thrown.message, error);
      return true;
    });
  }
  assert.throws(() => new GroupNorm(gpu, 3, 8), /3 groups over 8 channels: groups must divide/);
  assert.equal(gpu.memory.live, before);
});

Deno.test("only batches of three-channel images are taken", async () => {
  const gpu = await testGpu();
  using network = new DeepLab(gpu, { ...TINY, init: "none" });
  using grey = tensor(gpu, new Float32Array(64), [1, 1, 8, 8]);
  assert.throws(() => network.forward(grey), {
    name: "TypeError",
    message: "Cannot run DeepLab on a tensor of shape [1, 1, 8, 8]: it takes [N, 3, H, W]",
  });
});

Deno.test("the discriminator scores patches of 16 pixels and starts within its bound", async () => {
  const gpu = await testGpu();
  using network = new Discriminator(gpu, { classes: 3, planes: 4, seed: 2 });
  assert.deepEqual([...network.stateDict()].map(([name, { shape }]) => [name, [...shape]]), [
    ["conv1.weight", [4, 3, 3, 3]],
    ["conv1.bias", [4]],
    ["conv2.weight", [8, 4, 3, 3]],
    ["conv2.bias", [8]],
    ["conv3.weight", [16, 8, 3, 3]],
    ["conv3.bias", [16]],
    ["conv4.weight", [32, 16, 3, 3]],
    ["conv4.bias", [32]],
    ["classifier.weight", [1, 32, 1, 1]],
    ["classifier.bias", [1]],
  ]);
  using x = tensor(gpu, new Fill("x").signed("x", 2 * 3 * 33 * 50), [2, 3, 33, 50]);
  using scores = scope(() => noGrad(() => network.forward(x)));
  assert.deepEqual([...scores.shape], [2, 1, 3, 4]);
  const weight = await network.stateDict().get("conv4.weight")?.read();
  const largest = weight?.reduce((most, value) => Math.max(most, Math.abs(value)), 0) ?? NaN;
  assert.ok(largest <= 1 / 12 && largest > 0.99 / 12, `largest weight ${largest}`);
});

Deno.test("what is predicted from the backbone's features is what the network makes of the image", async () => {
  const gpu = await testGpu();
  const small = { blocks: [1, 1, 1, 1], width: 2, classes: 3, init: "he" } as const;
  const proda = { ...small, headChannels: 8, groups: 4, dilations: [1], dropout: 0 };
  using image = tensor(gpu, new Fill("image").signed("x", 3 * 17 * 25), [1, 3, 17, 25]);
  const variants: readonly DeepLabOptions[] = [
    proda,
    { ...proda, featureNorm: true },
    { ...small, head: "classic", dilations: [1] },
  ];
  for (const options of variants) {
    using network = new DeepLab(gpu, options);
    const [logits, expectedLogits, features, expectedFeatures] = await noGrad(() =>
      scope(() => {
        const backbone = network.extract(image);
        const found = network.predict(backbone);
        const expected = network.forward(image);
        assert.equal(backbone.disposed, false, "it stays the caller's");
        assert.equal(found.features === backbone, options.head === "classic");
        const tensors = [found.logits, expected.logits, found.features, expected.features];
        return { values: gpu.readAll(tensors.map(({ array }) => array)) };
      })
    ).values;
    assertSame(logits, expectedLogits);
    assertSame(features, expectedFeatures);
  }
});
