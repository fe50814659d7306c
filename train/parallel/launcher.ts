// Whether the launcher and the library of MPI know each other: where they do not, each of N processes takes
// itself for a job of one, and all of them would write the same run.

import { DataError } from "../base/data_error.ts";

/** What tells how many processes were started together, the most certain first. */
const SIZE_VARIABLES = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] as const;

/** The environment variables that are read. */
export const LAUNCHER_VARIABLES: readonly string[] = SIZE_VARIABLES;

/** What has started this process together with others. */
export interface Launcher {
  /** What it is called. */
  readonly name: string;
  /** How many processes it has started. */
  readonly size: number;
  /** What helps where the library does not know it: the end of a sentence. */
  readonly wayOut: string;
}

const OPEN_MPI = {
  name: "mpirun of Open MPI",
  wayOut:
    "name a library of Open MPI, such as libmpi.so.40, or start with the launcher that comes " +
    "with the library",
};
const HYDRA = {
  name: "mpirun of MPICH or of its kind",
  wayOut:
    "name a library of MPICH or of its kind, such as libmpich.so.12, or start with the launcher " +
    "that comes with the library",
};
const SRUN = {
  name: "srun",
  wayOut:
    "start with srun --mpi=pmix for Open MPI or srun --mpi=pmi2 for MPICH (srun --mpi=list tells " +
    "what there is)",
};

/**
 * The launcher of this process; null where there was none. Slurm's count is that of a step, which srun
 * alone sets: SLURM_NTASKS is there in a batch script too, which may start mpirun, or one process. And
 * launchers that srun has helped to their machines have said their own count.
 *
 * @param read Reads an environment variable.
 */
export function launcherOf(read: (name: string) => string | undefined): Launcher | null {
  const [open, hydra, step] = SIZE_VARIABLES.map((name) => {
    const text = read(name);
    return text !== undefined && /^[1-9]\d*$/.test(text) ? Number(text) : null;
  });
  if (open !== null) return { ...OPEN_MPI, size: open };
  // Slurm's own PMI-2 says it as hydra does.
  if (hydra !== null) return { ...(hydra === step ? SRUN : HYDRA), size: hydra };
  return step === null ? null : { ...SRUN, size: step };
}

/**
 * Refuses a job whose library knows of other processes than its launcher has started.
 *
 * @param engine The library and its version.
 * @param library Its path.
 * @param size How many processes the library knows.
 * @throws {DataError} If they differ.
 */
export function checkLauncher(
  launcher: Launcher | null,
  { engine, library, size }: {
    readonly engine: string;
    readonly library: string;
    readonly size: number;
  },
): void {
  if (launcher === null || launcher.size === size) return;
  throw new DataError(
    `Cannot train as ${launcher.name} has started ${launcher.size} processes and ${engine} ` +
      `(${library}) knows of ${size}: expected a launcher and a library of one family; ${launcher.wayOut}`,
    { options: ["mpi"] },
  );
}
