// The feature distance of DAFormer: its loss and gradients, and what it counts.

import assert from "node:assert/strict";
import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { add, scale } from "../../../../nn/functional/elementwise.ts";
import { featureDistance } from "../../../../nn/functional/losses.ts";
import { backward, input, noGrad, scope } from "../../../../nn/tape.ts";
import { releaseBatch, type SourceBatch } from "../../../../train/stages/common/batch.ts";
import { sourceLoss } from "../../../../train/stages/common/losses.ts";
import { sourcePass } from "../../../../train/stages/common/source_pass.ts";
import { type Losses, NetworkTrainer } from "../../../../train/stages/common/stage.ts";
import {
  anchoredPass,
  FeatureAnchor,
  thingsAmong,
} from "../../../../train/stages/denoise/anchor.ts";
import { Denoise } from "../../../../train/stages/denoise/denoise.ts";
import { PrototypeBank } from "../../../../train/stages/denoise/prototypes.ts";
import { assertAllClose } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import { Fill } from "../../../goldens/fill.ts";
import * as reference from "../../../_reference/losses.ts";
import { assertSame } from "../../../_same.ts";
import { dataError } from "../../_folder.ts";
import { golden } from "../../_stages.ts";

const [BATCH, HEIGHT, WIDTH, CLASSES] = [4, 33, 49, 5] as const;
const THINGS = [false, true, false, true, false];
const OPTIONS = {
  learningRate: 0.05,
  headFactor: 2,
  momentum: 0.9,
  weightDecay: 1e-4,
  scheduleSteps: 10,
  power: 0.9,
  rampSteps: 0,
  seed: 0,
};

function networkOf(gpu: Gpu, salt: string, isFrozen = false): DeepLab {
  const network = new DeepLab(gpu, {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: CLASSES,
    headChannels: 8,
    groups: 4,
    dilations: [1, 2],
    dropout: 0,
    init: "none",
  });
  new Fill(salt).module(network);
  for (const norm of network.batchNorms()) norm.frozen = isFrozen;
  return network;
}

/** Images whose labels are patches of 16×16 pixels, ever less of things in the later ones. */
function batchOf(gpu: Gpu): SourceBatch {
  const pixels = new Fill("source").signed("images", BATCH * 3 * HEIGHT * WIDTH);
  const labels = Uint32Array.from({ length: BATCH * HEIGHT * WIDTH }, (_, i) => {
    const image = Math.floor(i / (HEIGHT * WIDTH));
    const patch = 4 * Math.floor(Math.floor(i / WIDTH) % HEIGHT / 16) + Math.floor(i % WIDTH / 16);
    return patch % (2 + image) === 0 ? 1 + 2 * (image % 2) : 2;
  });
  return {
    images: gpu.upload(pixels.map((value) => (value + 1) / 2), [BATCH, 3, HEIGHT, WIDTH], "images"),
    labels: gpu.upload(labels, [BATCH, HEIGHT, WIDTH], "labels"),
  };
}

/** Losses and gradients of the source images, and what an anchor's statistics are afterwards. */
async function learnt(
  gpu: Gpu,
  weight: number,
  { accumulate = 1, isFrozen = false, tracks = true } = {},
) {
  const network = networkOf(gpu, "network", isFrozen);
  const frozen = networkOf(gpu, "anchor", isFrozen);
  using trainer = new NetworkTrainer(network, { ...OPTIONS, accumulate });
  using anchor = new FeatureAnchor(frozen, THINGS);
  const batch = batchOf(gpu);
  trainer.begin(0);
  const losses = trainer.learn(batch, anchoredPass(trainer, anchor, weight, tracks));
  const values = await gpu.readAll(Object.values(losses));
  const grads = [...network.namedParameters()].map(([name, { grad }]) => ({ name, grad }));
  const gradients = new Map<string, Float32Array>();
  for (const { name, grad } of grads) if (grad) gradients.set(name, await grad.read());
  const statisticsOf = async (network: DeepLab) =>
    await gpu.readAll([...network.namedBuffers().values()]);
  const statistics = [await statisticsOf(network), await statisticsOf(frozen)];
  releaseBatch([losses, batch]);
  network.dispose();
  return {
    losses: Object.fromEntries(Object.keys(losses).map((name, i) => [name, values[i][0]])),
    gradients,
    statistics,
  };
}

Deno.test("the distance is that of backbones in training, over the cells that a thing fills", async () => {
  const gpu = await testGpu();
  const { losses } = await learnt(gpu, 1);
  const batch = batchOf(gpu);
  const featuresOf = (salt: string) =>
    noGrad(() => {
      const network = networkOf(gpu, salt).train();
      const features = network.extract(input(batch.images));
      network.dispose();
      return features;
    });
  const [own, anchors] = [featuresOf("network"), featuresOf("anchor")];
  const [, , rows, columns] = own.shape;
  const nd = async (array: { read(): Promise<ArrayLike<number>> }, shape: readonly number[]) => ({
    data: Float64Array.from(await array.read()),
    shape,
  });
  const labels = await nd(batch.labels, [BATCH, HEIGHT, WIDTH]);
  const cells = reference.pureCells(labels, [1, 3], [rows, columns], 0.75);
  const marked = cells.data.reduce((sum, cell) => sum + cell, 0);
  assert.ok(
    marked > 10 && marked < cells.data.length / 2,
    `${marked} cells of ${cells.data.length}`,
  );
  const [x, y] = [await nd(own, own.shape), await nd(anchors, own.shape)];
  const distance = reference.featureDistance(x, y, cells.data).data[0];
  assert.ok(distance > 0.1);
  assertAllClose("distance", [losses.distance], [distance], { rtol: 1e-5 });
  for (const tensor of [own, anchors]) tensor.dispose();
  releaseBatch(batch);
});

Deno.test("the gradient is that of the cross entropy and so many times that of the distance", async () => {
  const gpu = await testGpu();
  const weight = 0.3;
  const found = await learnt(gpu, weight);
  const network = networkOf(gpu, "network").train();
  using anchor = new FeatureAnchor(networkOf(gpu, "anchor"), THINGS);
  const batch = batchOf(gpu);
  const { anchors, cells } = anchor.prepare(batch);
  scope(() => {
    const source = sourceLoss(network.forward(input(batch.images)).logits, batch.labels);
    const distance = featureDistance(network.extract(input(batch.images)), anchors, cells);
    backward(add(source, scale(distance, weight)));
  });
  const names: string[] = [];
  for (const [name, { grad }] of network.namedParameters()) {
    if (!grad) continue;
    names.push(name);
    const expected = await grad.read();
    const largest = Math.max(...expected.map(Math.abs));
    const tolerance = { atol: 1e-5 * largest, rtol: 1e-4 };
    assertAllClose(name, found.gradients.get(name) ?? [], expected, tolerance);
  }
  assert.deepEqual(names, [...found.gradients.keys()]);
  const without = await learnt(gpu, 0);
  const first = "conv1.weight";
  assert.notDeepEqual(without.gradients.get(first), found.gradients.get(first));
  assert.equal(without.losses.distance, found.losses.distance, "the loss is without its weight");
  releaseBatch([batch, anchors, cells]);
  network.dispose();
});

Deno.test("a batch in parts has the distance of the whole, whatever cells are in which part", async () => {
  const gpu = await testGpu();
  const whole = await learnt(gpu, 0.3, { isFrozen: true });
  for (const accumulate of [2, 4]) {
    const parts = await learnt(gpu, 0.3, { isFrozen: true, accumulate });
    for (const [name, loss] of Object.entries(whole.losses)) {
      assertAllClose(name, [parts.losses[name]], [loss], { rtol: 1e-5 });
    }
    for (const [name, expected] of whole.gradients) {
      const largest = Math.max(...expected.map(Math.abs));
      const tolerance = { atol: 2e-5 * largest, rtol: 1e-4 };
      assertAllClose(name, parts.gradients.get(name) ?? [], expected, tolerance);
    }
  }
});

Deno.test("an anchor never moves, and the network's statistics only where they are to", async () => {
  const gpu = await testGpu();
  const read = async (network: DeepLab) => {
    const values = await gpu.readAll([...network.namedBuffers().values()]);
    network.dispose();
    return values;
  };
  const before = [await read(networkOf(gpu, "network")), await read(networkOf(gpu, "anchor"))];
  const tracked = await learnt(gpu, 1);
  assertSame(tracked.statistics[1], before[1], "the anchor's");
  assert.notDeepEqual(tracked.statistics[0], before[0]);
  const untracked = await learnt(gpu, 1, { tracks: false });
  assertSame(untracked.statistics[0], before[0], "the network's");
});

Deno.test("a network is at no distance from itself, and learns as if there was no anchor", async () => {
  const gpu = await testGpu();
  const gradientsOf = async (isAnchored: boolean) => {
    const network = networkOf(gpu, "network");
    using trainer = new NetworkTrainer(network, OPTIONS);
    using anchor = new FeatureAnchor(networkOf(gpu, "network"), THINGS);
    const batch = batchOf(gpu);
    trainer.begin(0);
    const losses: Losses = isAnchored
      ? trainer.learn(batch, anchoredPass(trainer, anchor, 5, true))
      : trainer.learn(batch, sourcePass(trainer));
    if (isAnchored) assert.deepEqual(await losses.distance.read(), Float32Array.of(0));
    const grads = [...network.namedParameters().values()].flatMap(({ grad }) => grad ?? []);
    const values = await gpu.readAll(grads);
    releaseBatch([losses, batch]);
    network.dispose();
    return values;
  };
  assertSame(await gradientsOf(true), await gradientsOf(false));
});

Deno.test("things are those that are named, or those that Cityscapes knows as such", () => {
  const classes = ["road", "person", "sky", "bus"];
  assert.deepEqual(thingsAmong(classes, null), [false, true, false, true]);
  assert.deepEqual(thingsAmong(classes, ["road", "bus"]), [true, false, false, true]);
  assert.throws(
    () => thingsAmong(classes, ["persn"]),
    dataError('"persn" is no class, did you mean person?', "road, person, sky, bus"),
  );
  assert.throws(
    () => thingsAmong(["land", "water"], null),
    dataError("none of the classes land, water is known as one", '"things"'),
  );
});

Deno.test("a stage that is to keep features near to an anchor needs one", async () => {
  const gpu = await testGpu();
  const network = networkOf(gpu, "network");
  const encoder = networkOf(gpu, "encoder");
  const bank = new PrototypeBank(gpu, { classes: CLASSES, channels: 8 });
  const options = { ...golden.stage1.options, seed: 0, featureDistance: 0.1 };
  assert.throws(() => new Denoise(network, encoder, bank, options), {
    name: "TypeError",
    message: /with weight 0.1 as there is none/,
  });
  for (const owner of [network, encoder, bank]) owner.dispose();
});
