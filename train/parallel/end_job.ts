// The end of a job from beside: by a thread that was never part of it, while the one that was is blocked.

import { interfaceOf } from "./library.ts";
import { MPICH } from "./mpi_abi.ts";

/** Seconds that a job has to end itself before this process ends alone: MPI_Abort may block for ever. */
export const GRACE = 5;
/** Milliseconds that launchers are given to pass on what was printed: some lose it otherwise. */
const PRINTED_WITHIN = 200;

/**
 * Ends all ranks of a job, and this process whatever comes of that.
 *
 * @param library The path of the library of MPI.
 */
export async function endJob(library: string, exitCode: number): Promise<void> {
  const end = endSoon(library, exitCode, GRACE);
  await new Promise((resolve) => setTimeout(resolve, PRINTED_WITHIN));
  await abort(library, exitCode).catch(() => {}); // then the process alone
  await end;
}

/** Ends this process when it has had so many seconds to end by itself. */
export async function endSoon(library: string, exitCode: number, seconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  endProcess(library, exitCode);
}

/**
 * Ends this process, for which its launcher ends the others. The exit of a thread ends no process whose first
 * one is blocked; that of the C library, which is reached through the library of MPI and needs no
 * permission beside its own, does.
 */
export function endProcess(library: string, exitCode: number): void {
  const { symbols } = Deno.dlopen(library, { _exit: { parameters: ["i32"], result: "void" } });
  symbols._exit(exitCode);
}

/**
 * Ends this process before it has joined a job, so that its launcher ends the others. That of MPICH waits for
 * them where a process has only left, whatever its exit code; one that a signal has ended it takes for lost.
 */
export function endUnjoined(library: string, exitCode: number): void {
  if (interfaceOf(library) !== MPICH) return endProcess(library, exitCode);
  const { symbols } = Deno.dlopen(library, { abort: { parameters: [], result: "void" } });
  symbols.abort();
}

/** Calls MPI_Abort on a thread of its own, as it may block as well. */
async function abort(library: string, exitCode: number): Promise<void> {
  const { handle, world } = interfaceOf(library);
  const signature = { parameters: [handle, "i32"], result: "i32", nonblocking: true } as const;
  if (typeof world === "string") {
    const { symbols } = Deno.dlopen(library, {
      MPI_Abort: { parameters: ["pointer", "i32"], result: "i32", nonblocking: true },
      world: { name: world, type: "pointer" },
    });
    await symbols.MPI_Abort(symbols.world, exitCode);
    return;
  }
  const { symbols } = Deno.dlopen(library, { MPI_Abort: signature });
  await symbols.MPI_Abort(world as never, exitCode);
}
