// Sizes and steps chosen from facts, on adapters that are made up.

import assert from "node:assert/strict";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { type PresetName, PRESETS } from "../../../train/config/presets.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { networkSize } from "../../../train/evaluation/image_batches.ts";
import { type Cost, secondsOf } from "../../../train/plan/cost.ts";
import type { Facts } from "../../../train/plan/facts.ts";
import {
  type Fit,
  fit,
  type Room,
  scaledSteps,
  total,
  type Values,
} from "../../../train/plan/fit.ts";

const FACTS: Facts = {
  classes: ["ground", "thing"],
  partSizes: [0.8, 0.2],
  source: 400,
  target: 400,
  measured: 100,
  size: { height: 240, width: 320 },
};
const MINUTES = 60;
const ROOM: Room = { seconds: 25 * MINUTES, stretch: 1, bytes: Infinity };

/** A device on which a pixel of the least network takes so many seconds, and so many bytes. */
interface Device {
  readonly pixel: number;
  readonly bytes?: number;
}
/** Two quiet cores. */
const CORES: Device = { pixel: 2.5e-6 };

/** Costs go by pixels and by the square of the width, blocks alike. */
function costOn({ pixel, bytes = 1e3 }: Device, facts: Facts) {
  return (config: RunConfig): Promise<Cost> => {
    const { network: { width, blocks }, data, memory, pipeline } = config;
    const factor = (width / 8) ** 2 * blocks.reduce((a, b) => a + b, 0) / 4;
    const crop = data.batch * data.cropHeight * data.cropWidth;
    const { height, width: columns } = networkSize(facts.size, data.longSide);
    const step = crop * pixel * factor * (memory.recompute ? 4 / 3 : 1);
    const kept = memory.recompute ? 4 : 1;
    return Promise.resolve({
      step: Object.fromEntries(
        pipeline.map((name) => [name, step * (name === "source" ? 1 : 2.2)]),
      ),
      image: height * columns * pixel * factor / 3,
      peak: crop * bytes * factor / kept / memory.accumulate,
    });
  };
}

interface Outcome extends Fit {
  readonly config: RunConfig;
}

async function fitted(
  { facts = FACTS, room = ROOM, device = CORES, user = {} }: {
    facts?: Facts;
    room?: Room;
    device?: Device;
    user?: object;
  } = {},
): Promise<Outcome> {
  const configOf = (preset: PresetName, values: Values) =>
    mergeConfig(presetConfig(preset), { values, from: "chosen" }, { values: user, from: "user" });
  const found = await fit(facts, room, { configOf, costOf: costOn(device, facts) });
  return { ...found, config: configOf(found.preset, found.values) };
}

Deno.test("the time decides the preset: two cores get the least, larger GPUs larger ones", async () => {
  const cases: [pixel: number, minutes: number, preset: PresetName, width: number][] = [
    [2.5e-6, 3, "small", 8],
    [2.5e-6, 25, "small", 8],
    [2.5e-6, 120, "small", 16],
    [2.5e-7, 25, "small", 16], // an integrated GPU
    [1e-8, 25, "small", 16],
    [1e-8, 480, "medium", 64],
    [1e-9, 60, "medium", 64],
    [1e-9, 7 * 24 * 60, "full", 64],
  ];
  for (const [pixel, minutes, preset, width] of cases) {
    const room = { ...ROOM, seconds: minutes * MINUTES };
    const found = await fitted({ device: { pixel }, room });
    const line = `${pixel} s a pixel, ${minutes} minutes`;
    assert.deepEqual([found.preset, found.config.network.width], [preset, width], line);
  }
});

Deno.test("the steps fill the time and no more", async () => {
  for (const minutes of [3, 10, 25, 60]) {
    const room = { ...ROOM, seconds: minutes * MINUTES };
    const { config, seconds } = await fitted({ room });
    const cost = await costOn(CORES, FACTS)(config);
    assert.deepEqual(seconds, secondsOf(config, cost, FACTS), "what is said is so");
    const took = total(seconds);
    assert.ok(Math.abs(took / room.seconds - 1) < 0.05, `${took} s of ${minutes} minutes`);
    // In three minutes even the smallest images take half of it.
    const most = minutes > 3 ? 0.4 : 0.6;
    assert.ok(seconds.images < most * took, `whole images take ${seconds.images} s of ${took}`);
    for (const name of config.pipeline) {
      const { steps, scheduleSteps } = config.stages[name];
      assert.equal(steps, scheduleSteps, `the schedule of ${name} ends with it`);
    }
  }
});

Deno.test("without a wish a slow adapter takes longer, up to a bound, rather than learn nothing", async () => {
  const slow = { pixel: 2.5e-5 };
  const room = { ...ROOM, stretch: 3 };
  const [firm, free] = [await fitted({ device: slow }), await fitted({ device: slow, room })];
  const [least, most] = [total(firm.seconds), total(free.seconds)];
  assert.ok(
    least < 27 * MINUTES && most > 70 * MINUTES && most < 80 * MINUTES,
    `${least}, ${most}`,
  );
  assert.ok(free.config.stages.source.steps > 2 * firm.config.stages.source.steps);
  assert.match(free.reasons.join("\n"), /as fewer steps would learn too little/);
  const quick = await fitted({ room });
  assert.ok(total(quick.seconds) < 27 * MINUTES, "one that is fast enough takes no longer");
});

Deno.test("few images are not gone through for ever, and the time stays unused", async () => {
  const facts = { ...FACTS, source: 20, target: 20, measured: 5 };
  const { config, reasons, seconds } = await fitted({ facts, device: { pixel: 1e-7 } });
  assert.equal(config.stages.source.steps, 200 * 20 / config.data.batch);
  assert.match(reasons.join("\n"), /200 times through 20 images, as many as 20 images have some/);
  assert.ok(total(seconds) < 15 * MINUTES);
});

Deno.test("small parts are enlarged, up to a bound, and what stays too small is said", async () => {
  const shown = async (share: number) => {
    const facts = { ...FACTS, partSizes: [0.8, share], target: 40, measured: 10 };
    const { config, reasons } = await fitted({ facts });
    return [config.data.longSide, reasons.join("\n")] as const;
  };
  const [usual, nothing] = await shown(0.2);
  assert.equal(usual, 256);
  assert.doesNotMatch(nothing, /features of|smaller/);
  const [larger, why] = await shown(0.03);
  assert.equal(larger, 544);
  assert.match(
    why,
    /320×240 are shown at 544×408, .* 68×51 features.*, larger than they are, as the/,
  );
  const [most, tooSmall] = await shown(0.01);
  assert.equal(most, 800);
  assert.match(
    tooSmall,
    /The parts of thing are smaller .* of 800 pixels .* measures 8, expected 16/,
  );
  const size = { height: 120, width: 160 };
  const { config } = await fitted({ facts: { ...FACTS, size } });
  assert.equal(config.data.longSide, 160, "small images with large parts stay as they are");
});

Deno.test("many images to label and measure are shown smaller, so that time to learn is left", async () => {
  const many = { ...FACTS, partSizes: [0.8, 0.03], target: 3000, measured: 500 };
  const { config, seconds, reasons } = await fitted({ facts: many });
  assert.ok(config.data.longSide < 544, `${config.data.longSide}`);
  assert.ok(seconds.images < 0.4 * ROOM.seconds, `${seconds.images} s for images`);
  assert.match(reasons.join("\n"), /The parts of thing are smaller/);
});

Deno.test("crops have the images' shape and the preset's area, and are no larger than the images", async () => {
  const cases: [size: Facts["size"], crop: [width: number, height: number]][] = [
    [{ height: 240, width: 320 }, [160, 96]],
    [{ height: 256, width: 256 }, [128, 128]],
    [{ height: 1024, width: 2048 }, [192, 96]],
    [{ height: 320, width: 100 }, [96, 192]],
    [{ height: 64, width: 80 }, [96, 96]], // shown at 96×77
  ];
  for (const [size, [width, height]] of cases) {
    const { config: { data } } = await fitted({ facts: { ...FACTS, size } });
    const crop = [data.cropWidth, data.cropHeight];
    assert.deepEqual(crop, [width, height], `${size.width}×${size.height}`);
  }
});

Deno.test("what does not fit the memory is recomputed, then learnt in parts", async () => {
  const { small } = PRESETS;
  const whole = small.data.batch * 160 * 96 * 1e3;
  const memoryIn = async (bytes: number) =>
    (await fitted({ room: { ...ROOM, bytes } })).config.memory;
  assert.deepEqual(await memoryIn(whole), small.memory);
  assert.deepEqual(await memoryIn(whole / 2), { ...small.memory, recompute: true });
  const parts = { ...small.memory, recompute: true, accumulate: small.data.batch };
  assert.deepEqual(await memoryIn(whole / 10), parts);
  const device = { pixel: 2.5e-7 };
  const narrow = await fitted({ device, room: { ...ROOM, bytes: whole / 10 } });
  assert.equal(narrow.config.network.width, 8, "what fits comes before what is better");
  assert.match(narrow.reasons.join("\n"), /memory: recomputation on, batches in 4 parts/);
});

Deno.test("what the user has set holds, and the rest is chosen around it", async () => {
  const user = {
    pipeline: ["source", "warmup"],
    data: { longSide: 200 },
    stages: { warmup: { steps: 7 } },
  };
  const { config, seconds } = await fitted({ user });
  assert.deepEqual([config.data.longSide, config.stages.warmup.steps], [200, 7]);
  assert.ok(
    config.stages.source.steps > 2 * PRESETS.small.stages.source.steps,
    "it has all the time",
  );
  assert.ok(total(seconds) < 27 * MINUTES);
});

Deno.test("scaled steps take schedules, ramps and evaluations along", () => {
  const { small } = PRESETS;
  const config = mergeConfig(small, { values: scaledSteps(small, 2.5), from: "the test" });
  const { steps, scheduleSteps, rampSteps } = config.stages.stage1;
  assert.deepEqual([steps, scheduleSteps], [1500, 1500]);
  assert.equal(rampSteps, small.stages.stage1.rampSteps, "a ramp gets no longer");
  assert.equal(config.evalEvery, 1000);
  const least = mergeConfig(small, { values: scaledSteps(small, 1e-6), from: "the test" });
  assert.deepEqual([least.stages.source.steps, least.stages.source.rampSteps], [1, 0]);
});

Deno.test("a run takes steps, images for labels before stages, and images at every evaluation", () => {
  const stage = { steps: 10, scheduleSteps: 10 };
  const config = mergeConfig(PRESETS.small, {
    values: {
      pipeline: ["source", "stage1", "selfsup", "stage2"],
      evalEvery: 4,
      stages: { source: stage, stage1: stage, selfsup: stage, stage2: stage },
    },
    from: "the test",
  });
  const cost = { step: { source: 1, stage1: 2, selfsup: 4, stage2: 3 }, image: 0.5, peak: 0 };
  const facts = { ...FACTS, target: 10, measured: 4 };
  const { steps, images } = secondsOf(config, cost, facts);
  assert.equal(steps, 10 * (1 + 2 + 4 + 3));
  // Statistics and soft labels of ten images, two views of them, and three evaluations of three networks.
  const needed = 2 * 10 + 2 * 10 + 3 * 3 * 4;
  // At the end of each the images and three views of them; of two that adapt a comparison, and all of it
  // again after their statistics have been estimated on ten images.
  const atEnd = 3 * 16 + 2 * 8 + 2 * (10 + 4 + 16 + 8);
  assert.equal(images, 0.5 * (needed + atEnd));
  const own = { ...config, finalStatistics: "own" } as const;
  assert.equal(secondsOf(own, cost, facts).images, 0.5 * (needed + 3 * 16 + 2 * 8));
});
