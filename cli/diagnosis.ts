// What the machine offers to a training, and whether that is enough.

import { scaleForward } from "../kernels/elementwise.ts";
import { type AdapterDescription, type Gpu, openGpu } from "../kernels/runtime/mod.ts";

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
/** What follows what is wrong. */
export const AGAIN = ["./run doctor", "once that is mended"] as const;

/**
 * Looks at the machine. Never throws: what goes wrong is the finding.
 *
 * @param onAdapter Sees the adapter; what it throws is a finding too.
 */
export async function diagnose(
  onAdapter: (adapter: AdapterDescription) => void = () => {},
): Promise<Diagnosis> {
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
    onAdapter(gpu.adapter);
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
