// `doctor`: what the machine offers, and whether training can run on it.

import type { Command } from "@commander-js/extra-typings";
import { scaleForward } from "../kernels/elementwise.ts";
import { formatBytes, type Gpu, openGpu } from "../kernels/runtime/mod.ts";
import { print } from "./output.ts";

/** What `doctor --json` prints. */
export interface Diagnosis {
  /** Deno's version. */
  readonly deno: string;
  /** System and processor. */
  readonly system: string;
  /** DENO_WEBGPU_BACKEND, the graphics interface that was asked for; null where Deno chooses. */
  readonly backend: string | null;
  /** The adapter, or null if there is none. */
  readonly adapter: string | null;
  /** Whether the adapter is the processor behind a graphics interface. */
  readonly software: boolean;
  /** The limits that matter, in bytes or counts. */
  readonly limits: Readonly<Record<string, number>>;
  /** Optional features of the adapter. */
  readonly features: readonly string[];
  /** Whether a kernel ran and its numbers are right. */
  readonly computes: boolean;
  /** Whether training can run. */
  readonly ready: boolean;
  /** The conclusion, a sentence. */
  readonly verdict: string;
  /** The command to run now, and what it does. */
  readonly next: readonly [command: string, what: string];
}

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

const FIRST_TRAINING = [
  "./run train --preset quick",
  "adapts a network on the built-in benchmark, in minutes",
] as const;
const AGAIN = ["./run doctor", "once that is mended"] as const;

/** Adds the command to the program. */
export function addDoctor(program: Command, finish: (exitCode: number) => void): void {
  program.command("doctor")
    .summary("show the adapter and say whether training can run")
    .description(
      "Show the adapter that WebGPU finds, run a kernel on it, and say whether training can run. " +
        "Exits with 2 if it cannot.",
    )
    .option("--json", "print the findings as JSON")
    .addHelpText(
      "after",
      `
Examples:
  ./run doctor
  DENO_WEBGPU_BACKEND=vulkan VK_DRIVER_FILES=/path/to/icd.json ./run doctor`,
    )
    .action(async ({ json }) => {
      const diagnosis = await diagnose();
      print(json ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis));
      finish(diagnosis.ready ? 0 : 2);
    });
}

/** Looks at the machine. Never throws: what goes wrong is the finding. */
export async function diagnose(): Promise<Diagnosis> {
  const found = {
    deno: Deno.version.deno,
    system: `${Deno.build.os} ${Deno.build.arch}`,
    backend: Deno.env.get("DENO_WEBGPU_BACKEND") ?? null,
    adapter: null,
    software: false,
    limits: {},
    features: [],
    computes: false,
  };
  let gpu;
  try {
    gpu = await openGpu();
  } catch (error) {
    return { ...found, ready: false, verdict: (error as Error).message, next: AGAIN };
  }
  const { description, isFallback, features } = gpu.adapter;
  const limits = Object.fromEntries(LIMITS.map((name) => [name, gpu.device.limits[name]]));
  const seen = { ...found, adapter: description, software: isFallback, limits, features };
  try {
    await checkArithmetic(gpu);
  } catch (error) {
    return { ...seen, ready: false, verdict: (error as Error).message, next: AGAIN };
  } finally {
    gpu.close();
  }
  const verdict = isFallback
    ? "Ready, on a software adapter: enough for the built-in benchmark and small images of your own"
    : "Ready";
  return { ...seen, computes: true, ready: true, verdict, next: FIRST_TRAINING };
}

/** Doubles more numbers than one row of workgroups holds, and compares. */
async function checkArithmetic(gpu: Gpu): Promise<void> {
  const numbers = Float32Array.from({ length: 100_003 }, (_, index) => index - 50_000.5);
  using x = gpu.upload(numbers, [numbers.length], "doctor input");
  using y = scaleForward(x, 2);
  const doubled = await y.read();
  const wrong = numbers.findIndex((value, index) => doubled[index] !== 2 * value);
  if (wrong >= 0) {
    throw new Error(
      `Cannot train on "${gpu.adapter.description}" as it computes wrongly: 2 · ${
        numbers[wrong]
      } gave ${doubled[wrong]}; update the graphics driver`,
    );
  }
}

/** The findings for people. */
function formatDiagnosis(diagnosis: Diagnosis): string {
  const { deno, system, backend, adapter, software, limits, features, verdict, next } = diagnosis;
  const lines: [string, string][] = [
    ["Deno", `${deno} on ${system}`],
    ["backend", backend ?? "chosen by Deno (DENO_WEBGPU_BACKEND is not set)"],
    ["adapter", adapter === null ? "none" : `${adapter}${software ? ", a software adapter" : ""}`],
  ];
  if (adapter !== null) {
    lines.push(
      ["largest buffer", formatBytes(limits.maxBufferSize)],
      ["largest binding", formatBytes(limits.maxStorageBufferBindingSize)],
      ["bindings per kernel", String(limits.maxStorageBuffersPerShaderStage)],
      ["workgroup memory", formatBytes(limits.maxComputeWorkgroupStorageSize)],
      ["workgroup size", String(limits.maxComputeInvocationsPerWorkgroup)],
      ["half precision", features.includes("shader-f16") ? "yes" : "no"],
      ["profiling", features.includes("timestamp-query") ? "yes" : "no timestamp queries"],
      ["arithmetic", diagnosis.computes ? "right" : "wrong"],
    );
  }
  const width = Math.max(...lines.map(([name]) => name.length));
  const rows = lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  return `${rows.join("\n")}\n\n${verdict}\nNext: ${next.join("   ")}`;
}
