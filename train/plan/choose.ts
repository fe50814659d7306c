// Sizes and steps for the adapter at hand: measured, fitted, and measured again on what was chosen.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { formatDuration } from "../base/text.ts";
import type { PresetName } from "../config/presets.ts";
import type { RunConfig } from "../config/settings.ts";
import { type Cost, plannedCost, secondsOf, type Slowness, slownessOf } from "./cost.ts";
import type { Facts } from "./facts.ts";
import { measureThroughput } from "./throughput.ts";
import { type Fit, fit, scaledSteps, total, type Values } from "./fit.ts";

/** Seconds of a run where nobody says how many. */
const USUAL_SECONDS = 25 * 60;
/** How much longer it may then take on a slow adapter. */
const STRETCH = 3;

/**
 * Chooses preset, sizes and steps for a run on this adapter.
 *
 * @param seconds What it may take; unless given, 25 minutes, and more where that is too little.
 * @param configOf What a preset and chosen values come to, under what the user has set.
 * @throws {MemoryError} If not even the least fits the device.
 */
export async function chooseSizes(
  gpu: Gpu,
  facts: Facts,
  seconds: number | undefined,
  configOf: (preset: PresetName, values: Values) => RunConfig,
): Promise<Fit> {
  const room = {
    seconds: seconds ?? USUAL_SECONDS,
    stretch: seconds === undefined ? STRETCH : 1,
    bytes: gpu.memory.budget,
  };
  const price = pricesOn(gpu, facts);
  const first = await fit(facts, room, { configOf, costOf: price });
  const config = configOf(first.preset, first.values);
  const slowness = await slownessOf(gpu, config, facts, await price(config));
  const costOf = async (config: RunConfig) => slower(await price(config), slowness);
  return await fit(facts, room, { configOf, costOf });
}

/**
 * The steps with which a configuration fills a time on this adapter, all stages alike.
 *
 * @returns The values to set, and a line that says so.
 */
export async function stepsForTime(
  gpu: Gpu,
  config: RunConfig,
  facts: Facts,
  seconds: number,
): Promise<{ readonly values: Values; readonly reason: string }> {
  const planned = await pricesOn(gpu, facts)(config);
  const cost = slower(planned, await slownessOf(gpu, config, facts, planned));
  const { steps, images, rest } = secondsOf(config, cost, facts);
  const factor = Math.max(0, seconds - images - rest) / steps;
  const values = scaledSteps(config, factor);
  const reason = `${factor.toPrecision(3)} times the preset's steps fill ${
    formatDuration(seconds)
  }: ${formatDuration(total({ steps: steps * factor, images, rest }))}, of which ${
    formatDuration(images)
  } go to whole images for labels and scores`;
  return { values, reason };
}

/**
 * Prices of configurations. Each is found once, and so are the rates of networks as wide and crops as large:
 * the second time would find another load of the machine.
 */
function pricesOn(gpu: Gpu, facts: Facts): (config: RunConfig) => Promise<Cost> {
  const rates = remembered((config) => measureThroughput(gpu, config), ({ network, data }) => [
    network.width,
    data.batch,
    data.cropHeight,
    data.cropWidth,
  ]);
  return remembered(
    async (config) => await plannedCost(gpu, config, facts, await rates(config)),
    ({ pipeline, network, data, memory }) => [pipeline, network, data, memory],
  );
}

/** A function of configurations that is called once for all that have the same key. */
function remembered<T>(
  find: (config: RunConfig) => Promise<T>,
  keyOf: (config: RunConfig) => unknown,
): (config: RunConfig) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (config) => {
    const key = JSON.stringify(keyOf(config));
    const found = known.get(key) ?? find(config);
    known.set(key, found);
    return found;
  };
}

function slower({ step, image, peak }: Cost, factors: Slowness): Cost {
  const steps = Object.entries(step).map(([name, seconds]) => [name, seconds * factors.step]);
  return { step: Object.fromEntries(steps), image: image * factors.image, peak };
}
