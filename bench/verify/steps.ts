// One step of every stage of a network: what a plan says that it takes, and what it takes. The network's
// name is the second argument.

import { formatBytes, type Gpu, openGpu } from "../../kernels/runtime/mod.ts";
import { estimateSeconds, measureThroughput } from "../../train/plan/throughput.ts";
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
const FIRST_STEP = { times: 1, seconds: 1 };
const MOST_STEPS = 5;
/** Steps must show the same arrays as those that a plan counts: its third. */
const SETTLED = 3;

await runPart(async (part) => {
  const name = Deno.args[1] as NetworkName;
  const config = configOf(name);
  const classes = classesOf(name);
  const { batch, cropWidth, cropHeight } = config.data;
  const probe = await openGpu();
  const { adapter, device: { limits }, kernelClass: kernels } = probe;
  const throughput = await measureThroughput(probe, config);
  part.say(
    `${name}: ${batch} images of ${cropWidth}×${cropHeight} a domain and step, ${classes} classes, ` +
      `class ${kernels}. Planned by ${digits(throughput.flops / 1e9)} GFLOP/s, ` +
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
  probe.close();
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
    const seconds = estimateSeconds(plan.step, throughput);
    const least = seconds * (1 + FIRST_STEP.times) + FIRST_STEP.seconds;
    const planned = [
      stage,
      plan.step.dispatches,
      digits(plan.step.flops / 1e12),
    ];
    if (!(least < part.left)) {
      part.skip(`${stage} (${digits(least)} s)`);
      const reason = `skipped: two steps would take ${digits(least)} s at the measured ` +
        `${digits(throughput.flops / 1e9)} GFLOP/s, and ${digits(part.left)} s are left`;
      const bytes = [formatBytes(plan.peak), "", formatBytes(plan.peakTaken)];
      part.say(row(...planned, ...bytes, "", "", "", "", reason));
      continue;
    }
    try {
      const found = await measure(part, config, classes, stage);
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

/** The steps of a stage on a device of its own, so that none pays for another's memory or failure. */
async function measure(
  part: Part,
  config: RunConfig,
  classes: number,
  name: StageName,
): Promise<Found> {
  const gpu = await openGpu();
  try {
    const trial = trialOf(gpu, config, classes, name);
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
    return { host, wall, peak, peakTaken, fault };
  } finally {
    gpu.close();
  }
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
