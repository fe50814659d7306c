// Sizes and steps for the adapter at hand: measured, fitted, and measured again on what was chosen.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { formatDuration } from "../base/text.ts";
import type { PresetName } from "../config/presets.ts";
import type { RunConfig } from "../config/settings.ts";
import { type Cost, plannedCost, secondsOf, slownessOf } from "./cost.ts";
import type { Facts } from "./facts.ts";
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
  const planned = await plannedCost(gpu, config, facts);
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

/** Prices of configurations, each measured once: the second time would find another load of the machine. */
function pricesOn(gpu: Gpu, facts: Facts): (config: RunConfig) => Promise<Cost> {
  const known = new Map<string, Promise<Cost>>();
  return (config) => {
    const { pipeline, network, data, memory } = config;
    const key = JSON.stringify({ pipeline, network, data, memory });
    const price = known.get(key) ?? plannedCost(gpu, config, facts);
    known.set(key, price);
    return price;
  };
}

function slower({ step, image, peak }: Cost, factor: number): Cost {
  const steps = Object.entries(step).map(([name, seconds]) => [name, seconds * factor]);
  return { step: Object.fromEntries(steps), image: image * factor, peak };
}
