// The engines that Debian has, and how their launchers are called where processors are few.

import assert from "node:assert/strict";

const FOLDERS = ["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu`);

/** A library of MPI and its launcher. */
export interface Engine {
  readonly library: string;
  readonly launcher: string;
  readonly flags: readonly string[];
  readonly version: RegExp;
}

/** Those whose binary interfaces differ. */
export const ENGINES: readonly Engine[] = [
  {
    library: "libmpi.so.40",
    launcher: "mpirun.openmpi",
    // Bound to a core each, ranks would see one processor; idle ones would spin on it.
    flags: [
      ...["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"],
      ...["--mca", "mpi_yield_when_idle", "1"],
    ],
    version: /^Open MPI v\d/,
  },
  {
    library: "libmpich.so.12",
    launcher: "mpirun.mpich",
    flags: [],
    version: /^MPICH Version: \d/,
  },
];

/** The path of a library. */
export function pathOf(library: string): string {
  for (const folder of FOLDERS) {
    try {
      Deno.statSync(`${folder}/${library}`);
      return `${folder}/${library}`;
    } catch {
      // the next one
    }
  }
  return assert.fail(`${library} is in none of ${FOLDERS.join(", ")}`);
}
