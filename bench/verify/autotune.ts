// What autotuning chooses, how long that takes, and what it gains.

import { type Gpu, tune } from "../../kernels/runtime/mod.ts";
import { openGpu } from "../../kernels/runtime/mod.ts";
import { convolutions, squareProduct } from "../_operations.ts";
import type { Operation } from "../_throughput.ts";
import { digits, median, row, runPart, tableHead, timesOf } from "./part.ts";
import { CONVOLUTIONS, flopsOf } from "./shapes.ts";

const ROUNDS = 5;
/** How many runs of an operation its tuning takes, about: candidates and rounds. */
const TUNING_RUNS = 40;
const EXPECTED_SHARE = 0.2;

await runPart(async (part) => {
  let gpu: Gpu;
  try {
    gpu = await openGpu({ autotune: true, profile: true });
  } catch (error) {
    part.conclude((error as Error).message, "skipped");
    return;
  }
  const rate = EXPECTED_SHARE * part.number("fma");
  const sets = [
    { name: "matmul 1024", flops: 2 * 1024 ** 3, make: () => [squareProduct(gpu, 1024)] },
    ...CONVOLUTIONS.map((shape) => ({
      name: shape.name,
      flops: 3 * flopsOf(shape),
      make: () => convolutions(gpu, shape),
    })),
  ];
  part.say(tableHead("operation", "ms before", "ms tuned", "gain", "tuning, s"));
  const gains: number[] = [];
  let spent = 0;
  let skipped = 0;
  for (const { name, flops, make } of sets) {
    const seconds = TUNING_RUNS * flops / (rate > 0 ? rate : 1e9);
    if (!(seconds < part.left)) {
      skipped++;
      part.say(
        row(
          name,
          "",
          "",
          "",
          `skipped: about ${digits(seconds)} s, of ${digits(part.left)} s left`,
        ),
      );
      continue;
    }
    for (const operation of make()) {
      const { before, after, tuning } = await measure(gpu, operation, () => part.left < 0);
      const gain = before / after;
      if (Number.isFinite(gain)) gains.push(gain);
      spent += tuning;
      part.say(
        row(operation.name, digits(before), digits(after), `${digits(gain)} ×`, digits(tuning)),
      );
      if (part.left < 0) break;
    }
    gpu.pool.trim();
  }
  const table = Object.entries(gpu.choices.table);
  if (table.length > 0) {
    part.say("", "<details><summary>What was chosen</summary>", "");
    part.say("| problem | way |", "| --- | --- |");
    for (const [key, way] of table) part.say(row(`\`${key}\``, way));
    part.say("", "</details>");
  }
  gpu.close();
  if (skipped > 0) part.skip(`${skipped} of ${sets.length} shapes, for want of time`);
  const mean = Math.exp(gains.reduce((sum, gain) => sum + Math.log(gain), 0) / gains.length);
  part.conclude(
    `${table.length} choices in ${digits(spent)} s, gain ${digits(mean)} × on average`,
    gains.length > 0 ? "ok" : "skipped",
  );
});

async function measure(gpu: Gpu, { run }: Operation, isLate: () => boolean): Promise<
  { readonly before: number; readonly after: number; readonly tuning: number }
> {
  run().release(); // compiles, and shows what can be tuned
  const before = median(await timesOf(gpu, () => run().release(), ROUNDS, isLate));
  const started = performance.now();
  await tune(gpu);
  const tuning = (performance.now() - started) / 1000;
  run().release();
  const after = median(await timesOf(gpu, () => run().release(), ROUNDS, isLate));
  return { before, after, tuning };
}
