// Everything that is measured without a GPU, most of it in processes on a Radeon that is not there.

import { presetConfig } from "../../train/config/config.ts";
import { STAGES } from "../../train/stages/kinds.ts";
import { sections } from "./marks.ts";
import { plannedCommands } from "./planned.ts";
import { parseStatistics } from "./statistics.ts";
import { fromTsv, regressions, type Table, tableOf } from "./tables.ts";

/** A table that can be made here, and held against the one that was recorded. */
export interface Measurement {
  /** What it is of; its file has this name. */
  readonly name: string;
  /** Makes the table. */
  measure(): Table | Promise<Table>;
  /** What is wrong with it, a sentence each, beside that recorded. */
  problems(recorded: Table, now: Table): string[];
}

/** Classes of the built-in benchmark, and of the data sets of the published recipe. */
export const CLASSES = { default: 8, full: 19 } as const;

const HERE = new URL(".", import.meta.url).pathname;

/** Radeons of three generations: RDNA 3, RDNA 2, and GCN as in data centres. */
export const FAMILIES = ["navi31", "navi21", "vega20"] as const;

/** One of them. */
export type Family = typeof FAMILIES[number];

/** Every kernel of the shared class, compiled for a family. */
export function kernelsOf(family: Family): Measurement {
  return { name: family, measure: () => measureKernels(family), problems: kernelProblems };
}

/** Commands of a step of every stage of the built-in benchmark, and the host's time for them. */
export const DEFAULT_STEPS: Measurement = {
  name: "step_default",
  measure: () => measureSteps(10),
  problems: stepProblems,
};

/** Commands of a step of every stage of the published recipe, as the runtime counts them. */
export const FULL_STEPS: Measurement = {
  name: "step_full",
  measure: planSteps,
  problems: stepProblems,
};

/** The file of a measurement's table. */
export function recordedFile({ name }: Measurement): URL {
  return new URL(`tables/${name}.tsv`, import.meta.url);
}

/** The table that was recorded; one without rows where none was. */
export function recordedTable(measurement: Measurement): Table {
  try {
    return fromTsv(Deno.readTextFileSync(recordedFile(measurement)));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { title: "", columns: [], rows: new Map() };
  }
}

function kernelProblems(recorded: Table, now: Table): string[] {
  const spills = now.columns.indexOf("spills");
  const spilling = [...now.rows].filter(([, row]) => row[spills] as number > 0)
    .map(([name, row]) => `${name} spills ${row[spills]} registers`);
  // Another compiler may differ by more than a kernel's author can help.
  if (recorded.title !== "" && recorded.title !== now.title) return spilling;
  const low = ["VGPRs", "LDS", "code", "latency", "inverse throughput", "exposed waits"];
  return [...spilling, ...regressions(recorded, now, { low, high: ["waves"] })];
}

function stepProblems(recorded: Table, now: Table): string[] {
  // The host's time is the host's.
  const low = ["dispatches", "barriers", "around copies", "copies", "fills", "submits"];
  return regressions(recorded, now, { low, high: [] });
}

/** Why there is no Radeon that is not there; null where there is. */
export function whyNot(): string | null {
  if (Deno.build.os !== "linux") return "Cannot measure kernels without a GPU but on Linux";
  const { success, stderr } = radeon("vega20", "true").outputSync();
  return success ? null : new TextDecoder().decode(stderr).trim();
}

function radeon(family: Family, ...command: readonly string[]): Deno.Command {
  return new Deno.Command("/bin/sh", {
    args: [`${HERE}radeon.sh`, family, ...command],
    stdout: "null",
    stderr: "piped",
  });
}

async function run(family: Family, script: string, ...args: readonly string[]): Promise<string> {
  const path = `${HERE}${script}`;
  const command = radeon(family, "deno", "run", "--no-check", "--allow-read", path, ...args);
  const { success, stderr } = await command.output();
  const output = new TextDecoder().decode(stderr);
  if (!success) throw new Error(`${script} failed on ${family}:\n${output.slice(-4000)}`);
  return output;
}

/** Compiles every kernel of the shared class for a family. */
async function measureKernels(family: Family): Promise<Table> {
  const output = await run(family, "pipelines.ts");
  const kernels = [...sections(output, "kernel")].sort(([a], [b]) => a < b ? -1 : 1);
  const rows = kernels.map(([name, text]) => {
    const found = parseStatistics(text);
    return [name, {
      VGPRs: found.registers,
      spills: found.spills,
      LDS: found.ldsBytes,
      waves: found.waves,
      code: found.codeBytes,
      latency: found.latency,
      "inverse throughput": found.inverseThroughput,
      "exposed waits": found.exposedWaits,
      FMA: found.products,
      vector: found.vector,
      scalar: found.scalar,
      "LDS accesses": found.lds,
      loads: found.loads,
    }] as const;
  });
  const version = / driver (\d+\.\d+\.\d+)$/m.exec(output)?.[1];
  return tableOf(`${family}, Mesa ${version}`, new Map(rows));
}

/**
 * Runs steps of every stage of the default preset on an adapter that takes no time.
 *
 * @param rounds Rounds of five steps, of which the host's time is that of the fastest.
 */
export async function measureSteps(rounds: number): Promise<Table> {
  const args = ["default", CLASSES.default, rounds].map(String);
  const output = await run("navi31", "steps.ts", ...args);
  const hosts = sections(output, "host");
  const rows = [...sections(output, "step")].map(([name, text]) => {
    const submits = [...text.matchAll(/^submit (.*)$/gm)].map(([, counts = ""]) =>
      new Map([...counts.matchAll(/(\w+) (\d+)/g)].map(([, what, count]) => [what, Number(count)]))
    );
    const sum = (what: string) =>
      submits.reduce((total, counts) => total + (counts.get(what) ?? 0), 0);
    const host = Number(hosts.get(name)?.trim()) / 1000;
    const dispatches = sum("dispatches");
    return [name, {
      dispatches,
      barriers: sum("barriers"),
      "around copies": sum("transfer_barriers"),
      copies: sum("copies"),
      fills: sum("fills"),
      submits: submits.length,
      "host ms": Number(host.toFixed(1)),
      "µs a dispatch": Number((1000 * host / dispatches).toFixed(1)),
    }] as const;
  });
  return tableOf("default", new Map(rows));
}

function planSteps(): Table {
  const config = presetConfig("full");
  const rows = STAGES.map((name) => [name, plannedCommands(config, CLASSES.full, name)] as const);
  return tableOf("full", new Map(rows));
}
