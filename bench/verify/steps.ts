// One step of every stage of a network: what a plan says that it takes, and what it takes. The network's
// name is the second argument.

import { formatBytes, type Gpu, openGpu } from "../../kernels/runtime/mod.ts";
import {
  estimateSeconds,
  measureThroughput,
  type Throughput,
} from "../../train/plan/throughput.ts";
import { planTraining } from "../../train/plan/plan.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { type StageName, STAGES } from "../../train/stages/kinds.ts";
import { classesOf, configOf, type NetworkName } from "./networks.ts";
import { digits, type Part, row, runPart, tableHead } from "./part.ts";
import { trialOf } from "./trial.ts";

/** What is compared with the target's own labels is the source stage again. */
const REFERENCE: StageName = "oracle";
/** A first step compiles, and takes about this many times as long, and this many seconds more. */
const FIRST_STEP = { times: 1, seconds: 3 };
/** What a dispatch costs the host. */
const HOST_SECONDS = 1e-5;
const MOST_STEPS = 5;
/** Steps must show the same arrays as those that a plan counts: its third. */
const SETTLED = 3;

await runPart(async (part) => {
  const name = Deno.args[1] as NetworkName;
  const config = configOf(name);
  const classes = classesOf(name);
  const { batch, cropWidth, cropHeight } = config.data;
  let gpu = await openGpu();
  const { adapter, device: { limits }, kernelClass: kernels } = gpu;
  const throughput = await throughputOf(part, gpu, config);
  part.say(
    `${name}: ${batch} images of ${cropWidth}×${cropHeight} a domain and step, ${classes} classes, ` +
      `class ${kernels}. Expected by ${digits(throughput.flops / 1e9)} GFLOP/s, ` +
      `${digits(throughput.bytes / 1e9)} GB/s and ${
        digits(throughput.dispatch * 1e6)
      } µs a kernel.`,
    "",
    tableHead(
      "stage",
      "dispatches",
      "TFLOP",
      "planned bytes",
      "measured bytes",
      "planned taken",
      "measured taken",
      "host ms",
      "ms",
      "TFLOP/s",
      "result",
    ),
  );
  const options = { adapter, limits, kernels };
  let pace = 1; // steps take so many times what is expected
  let measured = 0;
  const failures: string[] = [];
  let line = "";
  for (const stage of STAGES) {
    if (stage === REFERENCE) continue;
    const { stages: [plan] } = await planTraining(
      { ...config, pipeline: [stage] },
      classes,
      options,
    );
    if (!plan) continue;
    const expected = estimateSeconds(plan.step, throughput);
    const seconds = expected * pace;
    const least = seconds * (1 + FIRST_STEP.times) + FIRST_STEP.seconds;
    const planned = [
      stage,
      plan.step.dispatches,
      digits(plan.step.flops / 1e12),
    ];
    if (!(least < part.left)) {
      part.skip(`${stage} (${digits(least)} s)`);
      const reason = `skipped: two steps would take ${digits(least)} s at ` +
        `${digits(throughput.flops / pace / 1e9)} GFLOP/s, of the ${
          digits(Math.max(0, part.left))
        } s left`;
      const bytes = [formatBytes(plan.peak), "", formatBytes(plan.peakTaken)];
      part.say(row(...planned, ...bytes, "", "", "", "", reason));
      continue;
    }
    try {
      const found = await measure(part, gpu, config, classes, stage);
      pace = found.wall / 1000 / expected;
      measured++;
      part.say(row(
        ...planned,
        formatBytes(plan.peak),
        formatBytes(found.peak),
        formatBytes(plan.peakTaken),
        formatBytes(found.peakTaken),
        digits(found.host),
        digits(found.wall),
        digits(plan.step.flops / found.wall / 1e9),
        found.fault ?? "finite losses",
      ));
      if (found.fault !== null) part.wrong(`${stage}: ${found.fault}`);
      line += `${line === "" ? "" : ", "}${stage} ${digits(found.wall)} ms`;
    } catch (error) {
      const message = (error as Error).message.split("\n")[0] ?? "";
      const bytes = [formatBytes(plan.peak), "", formatBytes(plan.peakTaken)];
      part.say(row(...planned, ...bytes, "", "", "", "", message));
      // A card that is too small for a step is no fault of anyone's.
      if (/memory/i.test(message)) {
        part.skip(`${stage} (${formatBytes(plan.peakTaken)} do not fit)`);
      } else failures.push(stage);
    }
  }
  gpu.close();
  if (failures.length > 0) {
    part.conclude(`${failures.join(", ")} did not run; ${line}`, "failed");
  } else part.conclude(line, measured > 0 ? "ok" : "skipped");
});

interface Found {
  readonly host: number;
  readonly wall: number;
  readonly peak: number;
  readonly peakTaken: number;
  readonly fault: string | null;
}

/** Rates that steps are counted on to reach: shares of the roofs, where those are known. */
async function throughputOf(part: Part, gpu: Gpu, config: RunConfig): Promise<Throughput> {
  const [fma, copy, launch] = ["fma", "copy", "launch"].map((fact) => part.number(fact));
  // What the library measures of itself is, for a moment's work, mostly Deno's waiting for the GPU.
  if (!(fma > 0 && fma < 1e15 && copy > 0)) return await measureThroughput(gpu, config);
  return { flops: 0.25 * fma, bytes: 0.5 * copy, dispatch: launch + HOST_SECONDS };
}

/** Steps of a stage, and what memory they take beyond what was taken before. */
async function measure(
  part: Part,
  gpu: Gpu,
  config: RunConfig,
  classes: number,
  name: StageName,
): Promise<Found> {
  gpu.pool.trim();
  gpu.resetPeak();
  const { live } = gpu.memory;
  using trial = trialOf(gpu, config, classes, name);
  await gpu.finish();
  let [host, wall] = [Infinity, Infinity];
  let fault: string | null = null;
  for (let index = 0; index < MOST_STEPS; index++) {
    const started = performance.now();
    const losses = trial.step(index);
    const handed = performance.now();
    await gpu.finish();
    const done = performance.now();
    fault ??= await faultOf(gpu, losses);
    if (index > 0) {
      host = Math.min(host, handed - started);
      wall = Math.min(wall, done - started);
    }
    const enough = index >= 1 && (index >= SETTLED ? wall > 1000 : wall > 5000);
    if (enough || (index >= 1 && 2 * wall / 1000 > part.left)) break;
  }
  const { peak, peakTaken } = gpu.memory;
  return { host, wall, peak: peak - live, peakTaken: peakTaken - live, fault };
}

/** What is wrong with losses: of random numbers they are finite, and not all of them are zero. */
async function faultOf(gpu: Gpu, losses: Losses): Promise<string | null> {
  const names = Object.keys(losses);
  const arrays = Object.values(losses);
  const values = (await gpu.readAll(arrays)).map(([value]) => value as number);
  for (const array of arrays) array.release();
  const infinite = values.findIndex((value) => !Number.isFinite(value));
  if (infinite >= 0) return `the loss ${names[infinite]} is ${values[infinite]}`;
  return values.every((value) => value === 0) ? "all losses are 0" : null;
}
