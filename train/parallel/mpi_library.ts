// The functions of a library of MPI, by Deno's foreign function interface: no shim, no compiler.

import { interfaceOf } from "./library.ts";
import type { Handle, MpiAbi } from "./mpi_abi.ts";

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
  const abi = interfaceOf(path);
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
