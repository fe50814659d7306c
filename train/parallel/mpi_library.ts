// Libraries of MPI: where they lie, which binary interface they have, and their functions, by Deno's foreign
// function interface: no shim, no compiler.

import { CollectiveError } from "./collective.ts";
import { type Handle, type MpiAbi, MPICH, OPEN_MPI, STANDARD } from "./mpi_abi.ts";

/** Names under which libraries are installed, the most portable first. */
const USUAL_LIBRARIES = ["libmpi_abi.so.0", "libmpi.so.40", "libmpi.so.12", "libmpich.so.12"];
/** Folders that are looked in, as a permission must name the path of a file. */
const USUAL_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];

/** The functions that are called; handles are of the interface's own type. */
function functionsOf(handle: MpiAbi["handle"]) {
  // One that a call has made, unlike the library's own.
  const made = handle === "pointer" ? "usize" : handle;
  return {
    MPI_Init_thread: { parameters: ["pointer", "pointer", "i32", "buffer"], result: "i32" },
    MPI_Comm_rank: { parameters: [handle, "buffer"], result: "i32" },
    rankOfMade: { name: "MPI_Comm_rank", parameters: [made, "buffer"], result: "i32" },
    MPI_Comm_size: { parameters: [handle, "buffer"], result: "i32" },
    MPI_Comm_split_type: {
      parameters: [handle, "i32", "i32", handle, "buffer"],
      result: "i32",
    },
    MPI_Comm_set_errhandler: { parameters: [handle, handle], result: "i32" },
    MPI_Error_string: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
    MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
    MPI_Abort: { parameters: [handle, "i32"], result: "i32" },
    MPI_Finalize: { parameters: [], result: "i32" },
    MPI_Allreduce: {
      parameters: ["usize", "buffer", "i32", handle, handle, handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Alltoall: {
      parameters: ["buffer", "i32", handle, "buffer", "i32", handle, handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Allgather: {
      parameters: ["buffer", "i32", handle, "buffer", "i32", handle, handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Bcast: {
      parameters: ["buffer", "i32", handle, "i32", handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Barrier: { parameters: [handle], result: "i32", nonblocking: true },
  } as const satisfies Deno.ForeignLibraryInterface;
}

/** A handle as calls take it: of a type that the interface decides. */
export type Passed = never;

/** A library that is loaded. */
export interface MpiLibrary {
  /** Its binary interface. */
  readonly abi: MpiAbi;
  /** Its functions. */
  readonly symbols: Deno.DynamicLibrary<ReturnType<typeof functionsOf>>["symbols"];
  /** A handle of the interface as calls take it. */
  handle(handle: Handle): Passed;
}

/**
 * Loads a library.
 *
 * @param path Where it lies.
 * @throws {CollectiveError} If it cannot be loaded, or is none of MPI.
 */
export function loadMpi(path: string): MpiLibrary {
  const abi = abiOf(path);
  const { world, nullInfo, errorsReturn, types, operations } = abi;
  const all = [
    world,
    nullInfo,
    errorsReturn,
    ...Object.values(types),
    ...Object.values(operations),
  ];
  const names = all.filter((name) => typeof name === "string");
  const statics = Object.fromEntries(names.map((name) => [name, { type: "pointer" } as const]));
  const addresses = Deno.dlopen(path, statics).symbols;
  const handles = new Map(
    all.map((name) => [name, (typeof name === "string" ? addresses[name] : name) as Passed]),
  );
  const { symbols } = Deno.dlopen(path, functionsOf(abi.handle));
  return { abi, symbols, handle: (handle) => handles.get(handle) as Passed };
}

/**
 * The path of a library in the usual folders.
 *
 * @throws {CollectiveError} If there is none.
 */
export function findLibrary(): string {
  for (const name of USUAL_LIBRARIES) {
    for (const folder of USUAL_FOLDERS) {
      const path = `${folder}/${name}`;
      try {
        Deno.statSync(path);
        return path;
      } catch {
        // the next one
      }
    }
  }
  throw new CollectiveError(
    `Cannot find MPI as none of ${USUAL_LIBRARIES.join(", ")} is in ${USUAL_FOLDERS.join(", ")}: ` +
      "install Open MPI or MPICH (on Debian openmpi-bin or mpich), or name the library",
  );
}

/** Which interface a library has, by what it exports. */
function abiOf(library: string): MpiAbi {
  const { ompi_mpi_comm_world, MPI_Abi_get_version, MPI_Init_thread } = open(library);
  const [major, minor] = [new Int32Array(1), new Int32Array(1)];
  // Libraries of MPI 5 say -1 where they have an interface of their own.
  MPI_Abi_get_version?.(new Uint8Array(major.buffer), new Uint8Array(minor.buffer));
  if (major[0]! > 0) return STANDARD;
  if (ompi_mpi_comm_world) return OPEN_MPI;
  if (MPI_Init_thread) return MPICH;
  throw new CollectiveError(
    `Cannot use ${library} as it exports no MPI_Init_thread: expected a library of MPI; name another one`,
  );
}

function open(library: string) {
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
