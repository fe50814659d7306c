// One step of every stage of a network: what a plan says that it takes, and what it takes. The
// network's name is the second argument.

import { formatBytes, type Gpu, MemoryError, openGpu } from "../../kernels/runtime/mod.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import { planTraining } from "../../train/plan/plan.ts";
import {
  estimateSeconds,
  measureThroughput,
  type Throughput,
} from "../../train/plan/throughput.ts";
import type { Losses } from "../../train/stages/common/stage.ts";
import { type StageName, STAGES } from "../../train/stages/kinds.ts";
import { classesOf, configOf, type NetworkName } from "./networks.ts";
import { digits, type Part, row, runPart, tableHead } from "./part.ts";
import { trialOf } from "../_trials.ts";

/** What is compared with the target's own labels is the source stage again. */
const REFERENCE: StageName = "oracle";
/** Seconds that a first step takes beyond its work: it compiles. */
const COMPILING = 3;
/** What a dispatch costs the host, in seconds. */
const HOST_SECONDS = 1e-5;
const MOST_STEPS = 5;
/** Arrays kept from step to step are there, as in the step that a plan counts: its third. */
const SETTLED = 3;
const COLUMNS = [
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
] as const;

interface Found {
  readonly host: number;
  readonly wall: number;
  readonly peak: number;
  readonly peakTaken: number;
  readonly fault: string | null;
}

/** Trials of stages on one device, a new one after each failure. */
class Trials {
  readonly #part: Part;
  readonly #classes: number;
  readonly #throughput: Throughput;
  #gpu: Gpu;
  /** Steps take so many times what is expected. */
  #pace = 1;
  /** The least that did not fit. */
  #tooLarge = Infinity;
  readonly #done: string[] = [];
  readonly #failed: string[] = [];

  private constructor(part: Part, classes: number, gpu: Gpu, throughput: Throughput) {
    this.#part = part;
    this.#classes = classes;
    this.#gpu = gpu;
    this.#throughput = throughput;
  }

  /** Opens a device, and says what is expected of it. */
  static async open(part: Part, classes: number, config: RunConfig): Promise<Trials> {
    const gpu = await openGpu();
    return new Trials(part, classes, gpu, await throughputOf(part, gpu, config));
  }

  /** What steps are expected to reach. */
  get expectation(): string {
    const { flops, bytes, dispatch } = this.#throughput;
    return `class ${this.#gpu.kernelClass}; expected at ${digits(flops / 1e9)} GFLOP/s, ` +
      `${digits(bytes / 1e9)} GB/s and ${digits(dispatch * 1e6)} µs a kernel`;
  }

  /** Plans and tries a stage; false if it does not fit the memory. */
  async run(stage: StageName, config: RunConfig, variant = ""): Promise<boolean> {
    const part = this.#part;
    const { adapter, device: { limits }, kernelClass: kernels } = this.#gpu;
    const label = `${stage}${variant}`;
    let cells: (string | number)[] = [label, "", "", "", "", ""];
    try {
      const planning = { ...config, pipeline: [stage] };
      const { stages: [plan] } = await planTraining(planning, this.#classes, {
        adapter,
        limits,
        kernels,
      });
      if (!plan) throw new Error("Cannot plan the stage");
      const { step, peak, peakTaken } = plan;
      const work = [label, step.dispatches, digits(step.flops / 1e12)];
      cells = [...work, formatBytes(peak), "", formatBytes(peakTaken)];
      const expected = estimateSeconds(step, this.#throughput);
      const seconds = 2 * expected * this.#pace + COMPILING;
      if (!(seconds < part.left)) {
        part.skip(`${label} (${digits(seconds)} s)`);
        const rate = digits(this.#throughput.flops / this.#pace / 1e9);
        const left = digits(Math.max(0, part.left));
        const reason = `skipped: two steps would take ${digits(seconds)} s at ${rate} GFLOP/s`;
        part.say(row(...cells, "", "", "", "", `${reason}, of the ${left} s left`));
        return true;
      }
      if (peakTaken >= this.#tooLarge) {
        part.say(row(...cells, "", "", "", "", "not tried: less than that did not fit"));
        if (variant !== "") part.skip(`${label} (out of memory)`);
        return false;
      }
      const found = await measure(part, this.#gpu, config, this.#classes, stage).catch((error) => {
        if (isOutOfMemory(error)) this.#tooLarge = Math.min(this.#tooLarge, peakTaken);
        throw error;
      });
      this.#pace = found.wall / 1000 / expected;
      part.say(row(
        ...work,
        formatBytes(peak),
        formatBytes(found.peak),
        formatBytes(peakTaken),
        formatBytes(found.peakTaken),
        digits(found.host),
        digits(found.wall),
        digits(step.flops / found.wall / 1e9),
        found.fault ?? "finite losses",
      ));
      if (found.fault !== null) part.wrong(`${label}: ${found.fault}`);
      this.#done.push(`${label} ${digits(found.wall)} ms`);
      return true;
    } catch (error) {
      part.say(row(...cells, "", "", "", "", firstLine(error)));
      this.#gpu.close(); // whatever has become of it
      this.#gpu = await openGpu();
      if (!isOutOfMemory(error)) this.#failed.push(label);
      else if (variant === "") return false;
      else part.skip(`${label} (out of memory)`);
      return true;
    }
  }

  /** Ends the part. */
  conclude(): void {
    this.#gpu.close();
    const done = this.#done.join(", ");
    const failed = this.#failed.join(", ");
    if (failed !== "") this.#part.conclude(`${failed} did not run; ${done}`, "failed");
    else this.#part.conclude(done, done === "" ? "skipped" : "ok");
  }
}

/** What was thrown first, where giving things back has thrown, too. */
function original(error: unknown): unknown {
  return error instanceof SuppressedError ? original(error.suppressed) : error;
}

function firstLine(error: unknown): string {
  return (original(error) as Error).message.split("\n")[0] ?? "";
}

/** A card that is too small for a step is no fault of anyone's. */
function isOutOfMemory(error: unknown): boolean {
  return original(error) instanceof MemoryError || /memory/i.test(firstLine(error));
}

/** Rates that steps are counted on to reach: shares of the roofs, where those are known. */
async function throughputOf(part: Part, gpu: Gpu, config: RunConfig): Promise<Throughput> {
  const [fma = NaN, copy = NaN, launch = NaN] = ["fma", "copy", "launch"].map((fact) =>
    part.number(fact)
  );
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
    const isLong = index >= SETTLED ? wall > 1000 : wall > 5000;
    if (index > 0 && (isLong || 2 * wall / 1000 > part.left)) break;
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

await runPart(async (part) => {
  const name = Deno.args[1] as NetworkName;
  const config = configOf(name);
  const { batch, cropWidth, cropHeight } = config.data;
  const trials = await Trials.open(part, classesOf(name), config);
  part.say(
    `${name}: ${batch} images of ${cropWidth}×${cropHeight} a domain and step, ` +
      `${
        classesOf(name)
      } classes; ${trials.expectation}. Bytes are what arrays hold at once; taken ` +
      "is that with the buffers that are kept for reuse.",
    "",
    tableHead(...COLUMNS),
  );
  // For cards on which a step does not fit; the same losses but for batch norms.
  const saving: RunConfig = {
    ...config,
    memory: { recompute: true, accumulate: batch, activations: "f32", compute: "f32" },
  };
  for (const stage of STAGES) {
    if (stage === REFERENCE) continue;
    const fits = await trials.run(stage, config);
    if (!fits) await trials.run(stage, saving, `, recomputed, in ${batch} parts`);
  }
  trials.conclude();
});
