// The engines that Debian has, and how their launchers are called where processors are few.

import { findLibrary } from "../../train/parallel/library.ts";

/** A library of MPI and its launcher. */
export interface Engine {
  /** The library's path; asking for it throws where it is not installed. */
  readonly library: string;
  readonly launcher: string;
  readonly flags: readonly string[];
  readonly version: RegExp;
}

export const OPEN_MPI: Engine = {
  get library() {
    return findLibrary("libmpi.so.40");
  },
  launcher: "mpirun.openmpi",
  // Bound to a core each, ranks would see one processor; idle ones would spin on it.
  flags: [
    ...["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"],
    ...["--mca", "mpi_yield_when_idle", "1"],
  ],
  version: /^Open MPI v\d/,
};

export const MPICH: Engine = {
  get library() {
    return findLibrary("libmpich.so.12");
  },
  launcher: "mpirun.mpich",
  flags: [],
  version: /^MPICH Version: \d/,
};

/** Those whose binary interfaces differ. */
export const ENGINES: readonly Engine[] = [OPEN_MPI, MPICH];
