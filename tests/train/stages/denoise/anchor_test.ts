// The feature distance of DAFormer: its loss and gradients, what it counts, and where its anchor comes from.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { Safetensors } from "../../../../nn/formats/safetensors.ts";
import { add, scale } from "../../../../nn/functional/elementwise.ts";
import { featureDistance } from "../../../../nn/functional/losses.ts";
import { backward, input, noGrad, scope } from "../../../../nn/tape.ts";
import { mergeConfig, presetConfig } from "../../../../train/config/config.ts";
import { withPretraining } from "../../../../train/config/pipeline.ts";
import type { RunConfig } from "../../../../train/config/settings.ts";
import { planTraining } from "../../../../train/plan/plan.ts";
import { resumeTraining, runTraining } from "../../../../train/run/run.ts";
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
import { dataError, withFolder } from "../../_folder.ts";
import { SILENT } from "../../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../../_resume.ts";

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
  const options = { ...presetConfig("default").stages.stage1, seed: 0, featureDistance: 0.1 };
  assert.throws(() => new Denoise(network, encoder, bank, options), {
    name: "TypeError",
    message: /with weight 0.1 as there is none/,
  });
  for (const owner of [network, encoder, bank]) owner.dispose();
});

const { signal } = new AbortController();
const run = async (config: RunConfig) => runTraining(config, await testGpu(), SILENT, signal);

function configOf(folder: string, name: string, ...layers: readonly object[]): RunConfig {
  const own = { out: join(folder, name), pipeline: ["source", "warmup", "stage1"] };
  const short = { data: { cropHeight: 32, cropWidth: 64 } };
  return withPretraining(mergeConfig(
    presetConfig("default"),
    ...[tinyConfig(folder, 3), own, short, ...layers].map((values) => ({ values, from: "test" })),
  ));
}

/** Arrays of a checkpoint whose names begin with a prefix, without it. */
function arraysOf(path: string, prefix: string): Map<string, Float32Array> {
  const file = new Safetensors(Deno.readFileSync(path));
  const names = [...file.entries.keys()].filter((name) => name.startsWith(prefix));
  return new Map(names.map((name) => [name.slice(prefix.length), file.floats(name).slice()]));
}

Deno.test("an anchor is what its setting says, lies in the checkpoint once, and survives a stop", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const first = configOf(folder, "first", { seed: 5, pipeline: ["source"] });
    await run(first);
    const init = join(first.out, "checkpoints", "source.safetensors");
    const plain = configOf(folder, "plain", { init, stages: { stage1: { statistics: "both" } } });
    await run(plain);
    const last = join("checkpoints", "stage1.safetensors");
    assert.equal(arraysOf(join(plain.out, last), "anchor.").size, 0, "none where it is off");

    const outcomes = new Set<string>();
    for (const featuresOf of ["before", "self-supervised", "init"] as const) {
      const things = ["road", "building"]; // which fill cells in every batch
      const stage1 = { featureDistance: 0.5, featuresOf, things, statistics: "both" };
      const distance = { stages: { stage1 }, init };
      const config = configOf(folder, featuresOf, distance);
      const isPretrained = featuresOf === "self-supervised";
      assert.equal(config.pipeline.includes("selfsup"), isPretrained, "it is put before");
      await run(config);
      const checkpoint = (stage: string) => join(config.out, "checkpoints", `${stage}.safetensors`);
      const from = { before: checkpoint("warmup"), init, "self-supervised": checkpoint("selfsup") };
      const anchor = arraysOf(checkpoint("stage1"), "anchor.");
      const expected = arraysOf(from[featuresOf], "network.");
      for (const name of expected.keys()) {
        if (name.startsWith("layer5")) expected.delete(name); // no head is kept
      }
      assertSame(anchor, expected, featuresOf);
      const records = Deno.readTextFileSync(join(config.out, "metrics.jsonl")).split("\n");
      const distances = records.filter((line) => line.includes('"distance"')).map((line) =>
        JSON.parse(line).distance
      );
      assert.equal(distances.length, 3, "one for each step of stage 1");
      assert.ok(distances[2] > 0, `${distances}`);
      if (featuresOf === "before") assert.equal(distances[0], 0, "no step was made before");
      else assert.ok(distances[0] > 0);
      outcomes.add(arraysOf(checkpoint("stage1"), "network.").get("conv1.weight")?.join() ?? "");

      const stopped = { ...config, out: join(folder, `${featuresOf} stopped`) };
      const controller = new AbortController();
      const observer = {
        ...SILENT,
        step: ({ stage, step }: { readonly stage: string; readonly step: number }) => {
          if (stage === "stage1" && step === 0) controller.abort();
        },
      };
      await runTraining(stopped, gpu, observer, controller.signal);
      // What it started from is not needed any more.
      for (const name of ["warmup", "selfsup"]) {
        const path = join(stopped.out, "checkpoints", `${name}.safetensors`);
        if (name === "warmup" || isPretrained) Deno.renameSync(path, `${path}.away`);
      }
      await resumeTraining(stopped.out, gpu, SILENT, signal);
      const stages = ["stage1"];
      assertSameOutcome(outcomeOf(stopped.out, stages), outcomeOf(config.out, stages));
    }
    outcomes.add(arraysOf(join(plain.out, last), "network.").get("conv1.weight")?.join() ?? "");
    assert.equal(outcomes.size, 4, "each is learnt from");
  }));

Deno.test("a run is refused before its first step where there is no anchor, or no thing", () =>
  withFolder(async (folder) => {
    const refused = (stage1: object, ...parts: string[]) =>
      assert.rejects(
        run(
          configOf(folder, "refused", { stages: { stage1: { featureDistance: 0.1, ...stage1 } } }),
        ),
        dataError(...parts),
      );
    await refused({ featuresOf: "init" }, "there is none", "init", "stages.stage1.featuresOf");
    await refused({ things: ["cat"] }, '"cat" is no class, did you mean car?');
    assert.throws(() => Deno.statSync(join(folder, "refused")), Deno.errors.NotFound);
  }));

Deno.test("a plan counts the frozen backbone and its features", async () => {
  const config = mergeConfig(presetConfig("default"), {
    values: { pipeline: ["stage1"] },
    from: "test",
  });
  const peakOf = async (featureDistance: number) => {
    const stage1 = { ...config.stages.stage1, featureDistance };
    const plan = await planTraining({ ...config, stages: { ...config.stages, stage1 } }, 8);
    return plan.stages[0].peak;
  };
  const gpu = await testGpu();
  using network = new DeepLab(gpu, { ...config.network, classes: 8, init: "none" });
  const bytes = 4 * network.parameterCount;
  const more = await peakOf(0.1) - await peakOf(0);
  assert.ok(more >= bytes && more < 3 * bytes, `${more} bytes more, the network has ${bytes}`);
});
