// Facts of data sets, and sizes chosen by what the adapter at hand does.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { Gpu } from "../../../kernels/runtime/mod.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { chooseSizes, stepsForTime } from "../../../train/plan/choose.ts";
import { plannedCost, secondsOf, slownessOf } from "../../../train/plan/cost.ts";
import { type Facts, factsOf } from "../../../train/plan/facts.ts";
import { total } from "../../../train/plan/fit.ts";
import { addInPlace } from "../../../kernels/elementwise.ts";
import { measureThroughput } from "../../../train/plan/throughput.ts";
import { encodeLabel } from "../../../train/images/image.ts";
import { STAGES } from "../../../train/stages/kinds.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, write } from "../_png.ts";

const CLASSES = { classes: ["ground", "pea", "sky"].map((name, id) => ({ name, ids: [id] })) };
const COLOURS = [[90, 60, 30], [0, 200, 0], [0, 0, 250]];

/** A pair of domains: the source 80×40 with peas of 4×4 pixels, the target 120×90 without labels. */
function writePair(folder: string): RunConfig["data"] {
  const [source, target] = ["source", "target"].map((name) => join(folder, name));
  const classes = CLASSES.classes.map((entry, id) => ({ ...entry, colour: COLOURS[id] }));
  write(join(source, "classes.json"), new TextEncoder().encode(JSON.stringify({ classes })));
  for (let index = 0; index < 5; index++) {
    const data = new Uint8Array(80 * 40);
    for (let y = 10; y < 14; y++) data.fill(1, y * 80 + 9 * index, y * 80 + 9 * index + 4);
    write(join(source, "images/train", `${index}.png`), imagePng(9, 80, 40));
    const label = encodeLabel({ data, width: 80, height: 40 });
    write(join(source, "labels/train", `${index}.png`), label);
    write(join(target, "images/train", `${index}.png`), imagePng(9, 120, 90));
    if (index < 2) write(join(target, "images/val", `${index}.png`), imagePng(9, 120, 90));
  }
  for (const name of ["a", "b", "c"]) {
    write(join(source, "images/val", `${name}.png`), imagePng(9, 80, 40));
  }
  const data = {
    sourceDirectory: source,
    sourceLayout: "folder",
    targetDirectory: target,
    targetLayout: "folder",
  };
  return mergeConfig(presetConfig("small"), { values: { data }, from: "the test" }).data;
}

/** A network so small that a step takes no time. */
const TINY = {
  network: { width: 2, headChannels: 8, groups: 4, dilations: [1] },
  data: { batch: 2, cropHeight: 32, cropWidth: 32 },
  stages: { warmup: { discriminatorPlanes: 2 }, selfsup: { projectionChannels: 4, places: 4 } },
};

Deno.test("facts are of the source's labels and of the images of both domains", () =>
  withFolder(async (folder) => {
    const data = writePair(folder);
    const facts = await factsOf(data);
    const { partSizes, ...rest } = facts;
    assert.deepEqual(rest, {
      classes: ["ground", "pea", "sky"],
      source: 5,
      target: 5,
      measured: 2 + 3,
      size: { width: 120, height: 90 },
    });
    const [ground, pea, sky] = partSizes;
    assert.ok((ground as number) > 0.6);
    assert.ok(Math.abs(pea as number / (4 / 80) - 1) < 0.03, `${pea}`);
    assert.equal(sky, null);
    const fewer = await factsOf({ ...data, classes: ["pea", "ground"] });
    assert.deepEqual(fewer.partSizes, [pea, ground]);
    Deno.removeSync(join(folder, "source/images/val"), { recursive: true });
    const measured = async (share: number, images: number) =>
      (await factsOf({ ...data, heldOut: { share, images } })).measured;
    assert.equal(await measured(0.5, 50), 2 + 2, "a share without a split");
    assert.equal(await measured(0.5, 1), 2 + 1);
    Deno.removeSync(join(folder, "target/images/train"), { recursive: true });
    await assert.rejects(factsOf(data), dataError("Cannot open data set"));
  }));

Deno.test("facts of streets need no files", async () => {
  const { data } = presetConfig("default");
  const { source, target, size, classes } = await factsOf(data);
  assert.deepEqual([source, target, classes.length], [400, 400, 8]);
  assert.deepEqual([size.width, size.height], [256, 128]);
});

const FACTS: Facts = {
  classes: ["a", "b"],
  partSizes: [0.5, 0.5],
  source: 30,
  target: 30,
  measured: 4,
  size: { width: 64, height: 48 },
};

function tiny(values: object = {}): RunConfig {
  const layers = [TINY, values].map((values) => ({ values, from: "the test" }));
  return mergeConfig(presetConfig("small"), ...layers);
}

Deno.test("steps of every stage and images can be timed, and nothing of them is left on the device", async () => {
  const gpu = await testGpu();
  for (const name of STAGES) {
    if (name === "selfsup") continue; // no network of it is measured
    const config = tiny({ pipeline: [name] });
    const cost = await plannedCost(gpu, config, FACTS, await measureThroughput(gpu, config));
    const { live } = gpu.memory;
    const { step, image } = await slownessOf(gpu, config, FACTS, cost);
    assert.ok(step > 0 && Number.isFinite(step), `a step of ${name}: ${step}`);
    assert.ok(image > 0 && Number.isFinite(image), `an image: ${image}`);
    assert.equal(gpu.memory.live, live, `${name} leaves arrays`);
  }
});

Deno.test("rates are of the work alone: waiting for an adapter takes longer than a small kernel", async () => {
  const gpu = await testGpu();
  const { dispatch, flops } = await measureThroughput(gpu, tiny());
  using x = gpu.zeros([64], "x");
  using y = gpu.zeros([64], "y");
  let best = Infinity;
  for (let trial = 0; trial < 3; trial++) {
    const before = performance.now();
    for (let index = 0; index < 4096; index++) addInPlace(x, y);
    await gpu.finish();
    best = Math.min(best, (performance.now() - before) / 4096 / 1000);
  }
  assert.ok(dispatch < 4 * best, `${dispatch} s a kernel, ${best} s measured`);
  // Three convolutions of a map of 4×4 take less than the ten milliseconds of a wait.
  const products = 3 * 2 * 9 * (2 * 8 * 4 * 4) * 8;
  assert.ok(products / flops < 50 * dispatch, `${products / flops} s for three convolutions`);
});

/** What a configuration takes by a clock of its own. */
async function secondsOn(gpu: Gpu, config: RunConfig): Promise<number> {
  const cost = await plannedCost(gpu, config, FACTS, await measureThroughput(gpu, config));
  return total(secondsOf(config, cost, FACTS));
}

Deno.test("sizes are chosen with what a user has set, and need nothing but the facts", async () => {
  const gpu = await testGpu();
  const found = await chooseSizes(
    gpu,
    FACTS,
    40,
    (preset, values) =>
      mergeConfig(
        presetConfig(preset),
        { values, from: "chosen" },
        { values: { ...TINY, pipeline: ["source", "stage1"] }, from: "the test" },
      ),
  );
  assert.ok(total(found.seconds) < 60, `${JSON.stringify(found.seconds)}`);
  assert.ok(found.reasons.length >= 4);
  assert.match(found.reasons.join("\n"), /crops of 32×32[\s\S]*steps: source \d+, stage1 \d+/);
});

Deno.test("a time stretches the steps of a configuration", async () => {
  const gpu = await testGpu();
  const config = tiny({ pipeline: ["source"] });
  const scaled = async (seconds: number) => {
    const { values, reason } = await stepsForTime(gpu, config, FACTS, seconds);
    assert.match(reason, /times the preset's steps fill \d/);
    return mergeConfig(config, { values, from: "--time" });
  };
  const [short, long] = [await scaled(20), await scaled(2000)];
  const [few, many] = [short.stages.source.steps, long.stages.source.steps];
  assert.ok(many > 8 * few, `${few} and ${many} steps`);
  assert.ok(await secondsOn(gpu, long) > 4 * await secondsOn(gpu, short));
});
