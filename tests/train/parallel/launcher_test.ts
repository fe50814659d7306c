// Launchers and libraries of one family, and of two.

import assert from "node:assert/strict";
import { checkLauncher, launcherOf } from "../../../train/parallel/launcher.ts";
import { dataError } from "../_folder.ts";

const launched = (environment: Record<string, string>) => launcherOf((name) => environment[name]);
const [engine, library] = ["Open MPI v4.1.4", "/usr/lib/libmpi.so.40"];

Deno.test("a launcher is known by what it sets, and Slurm's count is that of a step", () => {
  for (
    const [environment, name, size] of [
      [{ OMPI_COMM_WORLD_SIZE: "4" }, "mpirun of Open MPI", 4],
      [{ PMI_SIZE: "3" }, "mpirun of MPICH or of its kind", 3],
      [{ SLURM_STEP_NUM_TASKS: "8", SLURM_NTASKS: "8" }, "srun", 8],
      // srun --mpi=pmi2 sets both.
      [{ PMI_SIZE: "8", SLURM_STEP_NUM_TASKS: "8" }, "srun", 8],
      // mpirun in a batch script: srun has started its helper on each of two machines, and no rank.
      [
        { OMPI_COMM_WORLD_SIZE: "16", SLURM_STEP_NUM_TASKS: "2", SLURM_NTASKS: "16" },
        "mpirun of Open MPI",
        16,
      ],
      [{ PMI_SIZE: "16", SLURM_STEP_NUM_TASKS: "2" }, "mpirun of MPICH or of its kind", 16],
    ] as const
  ) {
    const found = launched(environment as Record<string, string>);
    assert.deepEqual([found?.name, found?.size], [name, size], JSON.stringify(environment));
  }
});

Deno.test("a process that no launcher has started is a job of one, in a batch script too", () => {
  assert.equal(launched({}), null);
  assert.equal(launched({ SLURM_NTASKS: "4", SLURM_PROCID: "0" }), null);
  assert.equal(launched({ OMPI_COMM_WORLD_SIZE: "many", PMI_SIZE: "" }), null);
  checkLauncher(null, { engine, library, size: 1 });
});

Deno.test("a library that knows of other processes than its launcher is refused", () => {
  const ofHydra = launched({ PMI_SIZE: "2" });
  assert.throws(
    () => checkLauncher(ofHydra, { engine, library, size: 1 }),
    dataError(
      "Cannot train as mpirun of MPICH or of its kind has started 2 processes and Open MPI v4.1.4 " +
        "(/usr/lib/libmpi.so.40) knows of 1: expected a launcher and a library of one family; name a " +
        "library of MPICH or of its kind, such as libmpich.so.12,",
    ),
  );
  const ofOpen = launched({ OMPI_COMM_WORLD_SIZE: "2" });
  assert.throws(
    () => checkLauncher(ofOpen, { engine: "MPICH", library, size: 1 }),
    dataError("mpirun of Open MPI has started 2", "such as libmpi.so.40"),
  );
  const ofSrun = launched({ SLURM_STEP_NUM_TASKS: "2" });
  assert.throws(
    () => checkLauncher(ofSrun, { engine, library, size: 1 }),
    dataError("as srun has started 2", "srun --mpi=pmix for Open MPI or srun --mpi=pmi2 for MPICH"),
  );
  checkLauncher(ofOpen, { engine, library, size: 2 });
});
