// Which library of MPI is taken, and which binary interface it has.

import { CollectiveError } from "./collective.ts";
import { type MpiAbi, MPICH, OPEN_MPI, STANDARD } from "./mpi_abi.ts";

/** Names under which libraries are installed, the most portable first. */
export const USUAL_LIBRARIES: readonly string[] = [
  "libmpi_abi.so.0",
  "libmpi.so.40",
  "libmpi.so.12",
  "libmpich.so.12",
];
/** Folders that are looked in, as a permission must name the path of a file. */
export const USUAL_FOLDERS: readonly string[] = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];

/**
 * The path of a library of MPI.
 *
 * @param name Its path, or its name in one of the usual folders; the first of the usual names unless given.
 * @param folders Those that are looked in.
 * @throws {CollectiveError} If there is none.
 */
export function findLibrary(
  name?: string,
  folders: readonly string[] = USUAL_FOLDERS,
): string {
  if (name?.includes("/")) return name.startsWith("/") ? name : `${Deno.cwd()}/${name}`;
  const names = name === undefined ? USUAL_LIBRARIES : [name];
  for (const file of names) {
    const found = folders.map((folder) => `${folder}/${file}`).find(isFile);
    if (found !== undefined) return found;
  }
  const wayOut = name === undefined
    ? "install Open MPI or MPICH (on Debian openmpi-bin or mpich), or name the library"
    : "give its path";
  throw new CollectiveError(
    `Cannot find ${name ?? "MPI"} as ${
      name === undefined ? `none of ${names.join(", ")}` : "no file of that name"
    } is in ${folders.join(", ")}: expected a library of MPI; ${wayOut}`,
  );
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/**
 * Which interface a library has, by what it exports.
 *
 * @throws {CollectiveError} If it cannot be loaded, or is none of MPI.
 */
export function interfaceOf(library: string): MpiAbi {
  const { ompi_mpi_comm_world, MPI_Abi_get_version, MPI_Init_thread } = load(library);
  const [major, minor] = [new Int32Array(1), new Int32Array(1)];
  // Libraries of MPI 5 say -1 where they have an interface of their own.
  MPI_Abi_get_version?.(new Uint8Array(major.buffer), new Uint8Array(minor.buffer));
  if (major[0] > 0) return STANDARD;
  if (ompi_mpi_comm_world) return OPEN_MPI;
  if (MPI_Init_thread) return MPICH;
  throw new CollectiveError(
    `Cannot use ${library} as it exports no MPI_Init_thread: expected a library of MPI; name another one`,
  );
}

function load(library: string) {
  try {
    return Deno.dlopen(library, {
      ompi_mpi_comm_world: { type: "pointer", optional: true },
      MPI_Abi_get_version: { parameters: ["buffer", "buffer"], result: "i32", optional: true },
      MPI_Init_thread: { type: "pointer", optional: true },
    }).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CollectiveError(
      `Cannot load ${library} (${reason}): expected a library of MPI; install one or name its path`,
      { cause: error },
    );
  }
}
