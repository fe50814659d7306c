// Makes a process of tests a rank of a job, whose devices compute together: `deno test --preload` in each
// process that mpirun starts.

import { findLibrary } from "../../train/parallel/library.ts";
import { Mpi } from "../../train/parallel/mpi.ts";
import { among } from "../_ranks.ts";

const ranks = new Mpi({ library: findLibrary(Deno.env.get("MPI_LIB")), timeout: 60_000 });
among.ranks = ranks;
addEventListener("unload", () => ranks.close());
