// `doctor`: what the machine offers, and whether training can run on it.

import type { Command } from "@commander-js/extra-typings";
import { formatBytes } from "../kernels/runtime/mod.ts";
import { diagnose } from "./diagnosis.ts";
import { diagnoseMpi, type JobDiagnosis, mpiLines } from "./doctor_mpi.ts";
import {
  adaptersOption,
  checkMpiFlags,
  collectiveTimeoutOption,
  MPI_GROUP,
  mpiOption,
  shareAdapterOption,
} from "./mpi_options.ts";
import { print } from "./output.ts";

/** Adds the command to the program. */
export function addDoctor(program: Command, finish: (exitCode: number) => void): void {
  program.command("doctor")
    .summary("show the adapter and say whether training can run")
    .description(
      "Show the adapter that WebGPU finds, run a kernel on it, and say whether training can run. " +
        "Exits with 2 if it cannot.",
    )
    .option("--json", "print the findings as JSON")
    .optionsGroup(MPI_GROUP)
    .addOption(mpiOption)
    .addOption(adaptersOption)
    .addOption(shareAdapterOption)
    .addOption(collectiveTimeoutOption)
    .addHelpText(
      "after",
      `
Examples:
  ./run doctor
  ./run doctor --mpi                 which MPI is there, and what is missing
  mpirun -n 2 --bind-to none ./run doctor --mpi
                                     whether each process gets an adapter of its own
  DENO_WEBGPU_BACKEND=vulkan VK_DRIVER_FILES=/path/to/icd.json ./run doctor`,
    )
    .action(async ({ json, ...flags }) => {
      checkMpiFlags(flags);
      const show = (diagnosis: JobDiagnosis) => {
        print(json ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis));
        return diagnosis.ready ? 0 : 2;
      };
      finish(flags.mpi === undefined ? show(await diagnose()) : await diagnoseMpi(flags, show));
    });
}

/** The findings for people. */
function formatDiagnosis(diagnosis: JobDiagnosis): string {
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
  if (diagnosis.mpi) lines.push(...mpiLines(diagnosis.mpi));
  const width = Math.max(...lines.map(([name]) => name.length));
  const rows = lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  return `${rows.join("\n")}\n\n${verdict}\nNext: ${next.join("   ")}`;
}
