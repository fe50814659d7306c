// The end of a job from beside: by a thread that was never part of it, while the one that was is blocked.

import { interfaceOf } from "./library.ts";

/** Seconds that a job has to end itself before this process ends alone. */
const GRACE = 5;

/**
 * Ends all ranks of a job, or, where the library does not manage that, this process, for which its launcher
 * ends the others. The exit of a thread ends no process whose first one is blocked; that of the C
 * library, which is reached through the library of MPI and needs no permission beside its own, does.
 *
 * @param library The path of the library of MPI.
 * @param hasJoined Whether the process is part of a job already.
 */
export async function endJob(
  library: string,
  exitCode: number,
  hasJoined: boolean,
): Promise<never> {
  if (hasJoined) {
    const timer = new Promise((resolve) => setTimeout(resolve, 1000 * GRACE));
    await Promise.race([abort(library, exitCode).catch(() => {}), timer]);
  }
  const { symbols } = Deno.dlopen(library, { _exit: { parameters: ["i32"], result: "void" } });
  symbols._exit(exitCode);
  throw new TypeError("a process that has ended goes on"); // for the compiler
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
