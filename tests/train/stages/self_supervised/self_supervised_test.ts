// Contrastive pre-training: what its views show, and what a step does, against PyTorch too.

import { strict as assert } from "node:assert";
import { warpMaps } from "../../../../kernels/warp.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { Random } from "../../../../nn/random.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
import { contrastPair } from "../../../../train/stages/self_supervised/contrast_views.ts";
import { releaseBatch } from "../../../../train/stages/common/batch.ts";
import {
  type ContrastBatch,
  SelfSupervised,
  type SelfSupervisedOptions,
} from "../../../../train/stages/self_supervised/self_supervised.ts";
import { assertAllClose, type Nd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import * as reference from "../../../_reference/contrast.ts";
import { linear } from "../../../_reference/conv2d.ts";
import { Fill } from "../../../goldens/fill.ts";
import { readGolden } from "../../../goldens/golden.ts";
import {
  assertStatistics,
  assertUpdated,
  runSteps,
  startOf,
  unchanged,
} from "../../_golden_steps.ts";
import { type Case, golden, labelled, networkOf, readAll, type Rows, take } from "../../_stages.ts";
import { assertSame } from "../../../_same.ts";

const CROP = { height: 40, width: 56 };
const VIEW = { crop: CROP, longSide: 64, scales: [0.75, 1.25], flip: 0.5 } as const;

Deno.test("both views of a pair show the same at every place", async () => {
  const gpu = await testGpu();
  // Every pixel holds its place: a bilinear sample of such a map is the place itself.
  const size = { height: 48, width: 64 };
  const plane = size.height * size.width;
  const map = Float32Array.from({ length: 2 * plane }, (_, i) => {
    return i < plane ? i % size.width : Math.floor((i - plane) / size.width);
  });
  using x = gpu.upload(map, [1, 2, size.height, size.width], "places of an image");
  let [flips, colours] = [0, 0];
  for (let draw = 0; draw < 40; draw++) {
    const pair = contrastPair(new Random(draw, "pair"), size, VIEW, 6);
    const found: Nd[] = [];
    for (const side of [0, 1] as const) {
      using view = warpMaps(x, [pair.views[side].mapView(size, CROP)], CROP);
      const nd = { data: Float64Array.from(await view.read()), shape: view.shape };
      const places = { data: Float64Array.from(pair.places[side]), shape: [1, 6, 2] };
      found.push(reference.samplePlanes(nd, places));
    }
    // At the image's border a sample mixes in what is outside; a place may lie that close to it.
    const inside = (at: number) =>
      found[0].data[at - at % 2] > 2 && found[0].data[at - at % 2] < size.width - 3 &&
      found[0].data[at - at % 2 + 1] > 2 && found[0].data[at - at % 2 + 1] < size.height - 3;
    const kept = [...found[0].data.keys()].filter(inside);
    assert.ok(kept.length >= 4, `draw ${draw} keeps ${kept.length / 2} places`);
    const [first, second] = found.map(({ data }) => kept.map((at) => data[at]));
    assertAllClose(`places of draw ${draw}`, first, second, { atol: 2e-3, rtol: 0 });
    const [a] = pair.views[0].matrix;
    const [b] = pair.views[1].matrix;
    if (Math.sign(a) !== Math.sign(b)) flips++;
    if (String(pair.colours[0]) !== String(pair.colours[1])) colours++;
  }
  assert.ok(colours > 30, `the colours of ${colours} of 40 pairs differ`);
  assert.ok(flips > 5 && flips < 35, `${flips} of 40 pairs are mirrored`);
});

Deno.test("a pair depends on its random stream alone, and no places are none", () => {
  const draw = (name: string, count: number) =>
    contrastPair(new Random(3, name), { height: 48, width: 64 }, VIEW, count);
  assert.deepEqual(draw("a", 5), draw("a", 5));
  assert.notDeepEqual(draw("b", 5).places, draw("a", 5).places);
  assert.deepEqual(draw("a", 0).places.map(({ length }) => length), [0, 0]);
});

const OPTIONS = {
  learningRate: 0.05,
  headFactor: 1,
  momentum: 0.9,
  weightDecay: 0,
  scheduleSteps: 100,
  power: 0.9,
  rampSteps: 0,
  seed: 4,
  temperature: 0.2,
  projectionChannels: 6,
};

/** Two images a domain, of noise that the views share. */
function batchOf(gpu: DeepLab["gpu"], count: number): ContrastBatch {
  const random = seededRandom(count);
  const [height, width] = [33, 49];
  const views = () => {
    const one = Float32Array.from({ length: 2 * 3 * height * width }, random);
    const other = one.map((value) => 0.8 * value + 0.1);
    const both = Float32Array.from([...one, ...other]);
    const half = Float32Array.from(
      { length: 2 * count * 2 },
      (_, i) => random() * (i % 2 === 0 ? width - 1 : height - 1),
    );
    return {
      images: gpu.upload(both, [4, 3, height, width], "views"),
      places: Float32Array.from([...half, ...half]),
    };
  };
  return { source: views(), target: views() };
}

for (const [count, what] of [[3, "places"], [0, "whole images"]] as const) {
  Deno.test(`a step on ${what} has the loss of its reference, falls, and leaves the head alone`, async () => {
    const gpu = await testGpu();
    using network = new DeepLab(gpu, {
      blocks: [1, 1, 1, 1],
      width: 2,
      headChannels: 8,
      groups: 4,
      dilations: [1, 2],
      classes: 3,
      seed: 2,
    });
    const head = network.parameterGroups().head;
    const before = await readAll(new Map([...head].map(([name, { array }]) => [name, array])));
    const batch = batchOf(gpu, count);
    const live = gpu.memory.live - gpu.memory.derived;
    const stage = new SelfSupervised(network, OPTIONS);
    const expected: Record<string, number> = {};
    for (const domain of ["source", "target"] as const) {
      expected[domain] = await lossOf(network, stage, batch[domain]);
    }
    const first = await take(stage.step(batch, 0));
    assertAllClose("losses", Object.values(first), Object.values(expected), {
      atol: 1e-4,
      rtol: 1e-4,
    });
    let last = first;
    for (let step = 1; step < 12; step++) last = await take(stage.step(batch, step));
    for (const domain of ["source", "target"]) {
      assert.ok(
        last[domain] < first[domain],
        `${domain} went from ${first[domain]} to ${last[domain]}`,
      );
    }
    const names = [...stage.state().keys()];
    assert.ok(names.includes("network.layer4.0.conv3.weight"));
    assert.ok(names.includes("optimizer.velocity.projection.2.weight"));
    assert.ok(!names.some((name) => name.startsWith("network.layer5")));
    stage[Symbol.dispose]();
    assert.equal(gpu.memory.live - gpu.memory.derived, live, "bytes left behind");
    releaseBatch(batch);
    const after = await readAll(new Map([...head].map(([name, { array }]) => [name, array])));
    assertSame(after, before);
  });
}

type PretrainingCase = Case<SelfSupervisedOptions & { readonly places: number }> & {
  readonly projection: Rows;
};

const cases = readGolden<{
  readonly places: PretrainingCase;
  readonly images: PretrainingCase;
}>("selfsup");

for (const name of ["places", "images"] as const) {
  const { salt, options, losses, network: updates, projection: moves, statistics } = cases[name];
  Deno.test(`two steps of self-supervised pre-training on ${name} agree with PyTorch`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using network = networkOf(gpu, fill);
    const backbone = await startOf(network);
    using stage = new SelfSupervised(network, { ...options, seed: 0 });
    const projection = () =>
      new Map([...stage.state()].filter(([name]) => name.startsWith("projection.")));
    for (const [name, array] of projection()) gpu.write(array, fill.parameter(name, array.shape));
    const read = () => readAll(projection());
    const head = { read, values: await read() };

    await runSteps(gpu, stage, goldenBatches(gpu, fill, options.places), losses);
    const untouched = unchanged(network.parameterGroups().head.keys());
    await assertUpdated(backbone, { ...updates, ...untouched });
    await assertUpdated(head, moves);
    await assertStatistics(network, statistics);
  });
}

/** The batches of all steps, as make_selfsup.py has them. */
function goldenBatches(gpu: DeepLab["gpu"], fill: Fill, count: number): ContrastBatch[] {
  const shapes = { ...golden, batch: 4 };
  const [height, width] = golden.crop;
  const [source, target] = ["source", "target"].map((domain) => {
    const places = fill.signed(`${domain}.places`, shapes.steps * shapes.batch * count * 2)
      .map((value, index) => (value + 1) / 2 * ((index % 2 === 0 ? width : height) - 1));
    return labelled(gpu, fill, domain, shapes).map(({ images, labels }, step) => {
      labels.release();
      const size = shapes.batch * count * 2;
      return { images, places: places.slice(step * size, (step + 1) * size) };
    });
  });
  return source.map((source, step) => ({ source, target: target[step] }));
}

/** The loss by the formulas, in doubles, from the network's features on. */
async function lossOf(
  network: DeepLab,
  stage: SelfSupervised,
  { images, places }: ContrastBatch["source"],
): Promise<number> {
  const [rows, , height, width] = images.shape;
  const output = noGrad(() => scope(() => network.train().extract(input(images))));
  const shape = output.shape;
  const [, channels, h, w] = shape;
  const features: Nd = { data: Float64Array.from(await output.read()), shape };
  output.dispose();
  const count = places.length / 2 / rows;
  const onMap = Float64Array.from(
    places,
    (value, index) => value * (index % 2 === 0 ? (w - 1) / (width - 1) : (h - 1) / (height - 1)),
  );
  const means = Float64Array.from(
    { length: rows * channels },
    (_, i) => features.data.subarray(i * h * w, (i + 1) * h * w).reduce((a, b) => a + b) / (h * w),
  );
  const vectors = count > 0
    ? reference.samplePlanes(features, { data: onMap, shape: [rows, count, 2] })
    : { data: means, shape: [rows, channels] };
  const values = await readAll(stage.state());
  const state = stage.state();
  const nd = (name: string): Nd => ({
    data: Float64Array.from(values.get(`projection.${name}`) ?? []),
    shape: state.get(`projection.${name}`)?.shape ?? [],
  });
  const hidden = linear(vectors, nd("0.weight"), nd("0.bias"));
  const active = { ...hidden, data: hidden.data.map((value) => Math.max(0, value)) };
  const projected = reference.normaliseRows(linear(active, nd("2.weight"), nd("2.bias")));
  const similarities = reference.dotRows(projected, projected);
  return reference.ntXent(similarities, OPTIONS.temperature).data[0];
}
