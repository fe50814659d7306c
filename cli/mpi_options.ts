// The flags of a job of several processes, and what such a process may do beside what its command may.

import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { DataError } from "../train/base/data_error.ts";
import { ADAPTER_VARIABLES, isAdapterName } from "../train/parallel/adapters.ts";
import { CollectiveError } from "../train/parallel/collective.ts";
import { LAUNCHER_VARIABLES } from "../train/parallel/launcher.ts";
import { findLibrary } from "../train/parallel/library.ts";
import { parseTime, parseWords } from "./values.ts";

/** The flags, as commander gives them. */
export interface MpiFlags {
  mpi?: string | true | undefined;
  adapters?: string[] | undefined;
  shareAdapter?: boolean | undefined;
  collectiveTimeout?: number | undefined;
}

/** The variable that names the library where the flag does not. */
const LIBRARY_VARIABLE = "MPI_LIB";
/** The variable that hands on what `cli/gpus.sh` lists. */
export const GPUS_VARIABLE = "PRODA_GPUS";
/** Seconds that ranks wait for each other, unless told. */
export const DEFAULT_TIMEOUT = 600;

/** The heading of the flags. */
export const MPI_GROUP = "Several processes:";

export const mpiOption = new Option(
  "--mpi [library]",
  "be one of the processes that mpirun or srun has started, which train one network together, each on an adapter of its own (library: that of the variable MPI_LIB, or the first that is installed)",
);

export const adaptersOption = new Option(
  "--adapters <names>",
  "adapters of the processes of a machine, in their order: PCI addresses such as 0000:65:00.0, or vendor:device such as 10de:2330 (default: a GPU each)",
).argParser(parseAdapters);

export const shareAdapterOption = new Option(
  "--share-adapter",
  "let processes of one machine share an adapter",
);

export const collectiveTimeoutOption = new Option(
  "--collective-timeout <time>",
  "how long processes wait for each other, or for a GPU, before they end the job with exit code 75 (default: 10m)",
).argParser(parseTime);

function parseAdapters(text: string): string[] {
  const names = parseWords(text).map((name) => name.toLowerCase());
  if (names.every(isAdapterName)) return names;
  throw new InvalidArgumentError(
    "expected PCI addresses such as 0000:65:00.0, or vendor:device such as 10de:2330",
  );
}

/**
 * Refuses flags that say how processes work together where there is one.
 *
 * @throws {DataError} If there are any without `--mpi`.
 */
export function checkMpiFlags(flags: MpiFlags): void {
  if (flags.mpi !== undefined) return;
  const names = { adapters: "adapters", shareAdapter: "sharing", collectiveTimeout: "a timeout" };
  for (const [name, what] of Object.entries(names)) {
    if (flags[name as keyof MpiFlags] === undefined) continue;
    throw new DataError(
      `Cannot take ${what} for several processes as there is one: expected a job over MPI; leave it out, ` +
        "or ask for MPI",
      { options: [name, "mpi"] },
    );
  }
}

/**
 * The path of the library that the flag or the environment names, or of the first that is installed.
 *
 * @throws {CollectiveError} If there is none.
 */
export function libraryOf(mpi: string | true): string {
  const { state } = Deno.permissions.querySync({ name: "env", variable: LIBRARY_VARIABLE });
  const named = state === "granted" ? Deno.env.get(LIBRARY_VARIABLE) : undefined;
  return findLibrary(typeof mpi === "string" ? mpi : named || undefined);
}

/**
 * The permissions of Deno that a process of a job needs beside those of its command.
 *
 * @param others Further environment variables that it reads.
 */
export function mpiPermissions(mpi: string | true, others: readonly string[] = []): string[] {
  const variables = [
    ...[LIBRARY_VARIABLE, GPUS_VARIABLE, ...LAUNCHER_VARIABLES, ...ADAPTER_VARIABLES],
    ...others,
  ];
  return [
    ...libraryPermission(mpi),
    `--allow-env=${variables.sort().join()}`,
    "--allow-sys=hostname",
  ];
}

/** None where there is no library, or Deno's list cannot hold its path: the command will say so. */
function libraryPermission(mpi: string | true): string[] {
  try {
    const library = libraryOf(mpi);
    return library.includes(",") ? [] : [`--allow-ffi=${library}`];
  } catch (error) {
    if (error instanceof CollectiveError) return [];
    throw error;
  }
}
