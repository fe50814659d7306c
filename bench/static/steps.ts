// Runs steps of every stage of a preset after lines that name them: radeon.sh runs this on an
// adapter that takes no time, and a layer prints what every submit holds.
// `steps.ts PRESET CLASSES ROUNDS`.

import process from "node:process";
import { type Gpu, openGpu } from "../../kernels/runtime/mod.ts";
import { presetConfig } from "../../train/config/config.ts";
import type { PresetName } from "../../train/config/presets.ts";
import { plannedStage } from "../../train/plan/plan.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import { type StageName, STAGES } from "../../train/stages/kinds.ts";
import { mark } from "./marks.ts";

/** The first step compiles, the next ones fill the pool. */
const SETTLING = 4;
/** Steps of a stage in a round. */
const STEPS = 5;

interface Trial {
  readonly name: StageName;
  readonly gpu: Gpu;
  step(): void;
  /** Microseconds of a step. */
  least: number;
}

const [preset = "default", classes = "8", rounds = "1"] = Deno.args;
const config = presetConfig(preset as PresetName);
const trials = await Promise.all(STAGES.map(async (name): Promise<Trial> => {
  const gpu = await openGpu({ kernels: "shared" });
  const { stage, makeBatch } = plannedStage(config, Number(classes), name, gpu);
  let index = 0;
  const step = () => {
    const batch = makeBatch();
    releaseBatch(stage.step(batch, index++));
    releaseBatch(batch);
    gpu.flush();
  };
  return { name, gpu, step, least: Infinity };
}));

for (const { name, gpu, step } of trials) {
  for (let i = 0; i < SETTLING; i++) step();
  await gpu.finish();
  mark("step", name);
  step();
  mark("end");
}
// In turns, as the engine compiles what all share while the first ones run. A busy machine adds some
// to the processor's time: the least of the rounds is the step's own.
for (let round = 0; round < Number(rounds); round++) {
  for (const trial of trials) {
    const before = process.cpuUsage();
    for (let i = 0; i < STEPS; i++) trial.step();
    const { user, system } = process.cpuUsage(before);
    trial.least = Math.min(trial.least, (user + system) / STEPS);
    await trial.gpu.finish();
  }
}
for (const { name, gpu, least } of trials) {
  mark("host", name);
  console.error(Math.round(least));
  mark("end");
  gpu.close();
}
