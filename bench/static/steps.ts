// Runs steps of every stage of a preset after a line that names it: radeon.sh runs this on an adapter
// that takes no time, and a layer prints what every submit holds. `steps.ts PRESET CLASSES ROUNDS`.

import { openGpu } from "../../kernels/runtime/mod.ts";
import { presetConfig } from "../../train/config/config.ts";
import type { PresetName } from "../../train/config/presets.ts";
import { plannedStage } from "../../train/plan/plan.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import { STAGES } from "../../train/stages/kinds.ts";
import process from "node:process";
import { mark } from "./marks.ts";

/** The first step compiles, the next ones fill the pool. */
const SETTLING = 4;
/** Steps of a round that is timed. */
const STEPS = 5;

const [preset = "default", classes = "8", rounds = "1"] = Deno.args;
for (const name of STAGES) {
  using gpu = await openGpu({ kernels: "shared" });
  const { stage, makeBatch } = plannedStage(
    presetConfig(preset as PresetName),
    Number(classes),
    name,
    gpu,
  );
  let index = 0;
  const step = () => {
    const batch = makeBatch();
    releaseBatch(stage.step(batch, index++));
    releaseBatch(batch);
    gpu.flush();
  };
  for (let i = 0; i < SETTLING; i++) step();
  await gpu.finish();
  mark("step", name);
  step();
  mark("end");
  // Processor time, of which a busy machine adds some: the least of the rounds is the step's own.
  let least = Infinity;
  for (let round = 0; round < Number(rounds); round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < STEPS; i++) step();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / STEPS);
    await gpu.finish();
  }
  mark("host", name);
  console.error(Math.round(least)); // microseconds
  mark("end");
}
