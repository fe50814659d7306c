// Makes a process of tests a rank of a job, whose devices compute together: `deno test --preload` in each
// process that mpirun starts.

import { findLibrary } from "../../train/parallel/library.ts";
import { Mpi } from "../../train/parallel/mpi.ts";
import { among } from "../_ranks.ts";

const ranks = new Mpi({ library: findLibrary(Deno.env.get("MPI_LIB")), timeout: 60_000 });
among.ranks = ranks;
addEventListener("unload", () => ranks.close());

// Deno keeps promises of reads for some milliseconds, for which devices with peers do not wait.
const { test } = Deno;
Object.defineProperty(Deno, "test", {
  value: (name: string, fn: () => Promise<void>) => test({ name, fn, sanitizeOps: false }),
});
