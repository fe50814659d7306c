// Trainings of two ranks on two machines, over TCP, and what befalls them. Run by `deno task test:cluster`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { withFolder } from "../../train/_folder.ts";
import { trainInterrupted } from "../../train/_interrupted.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../../train/_resume.ts";
import { strike, trainOnBoth } from "./_faults.ts";
import { FAULTS, Machines, MPICH, ONE_MACHINE, OPEN_MPI } from "./_machines.ts";

function flagsFor(folder: string, steps?: number): string[] {
  const config = join(folder, "tiny.json");
  Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, steps)));
  return ["--config", config];
}

Deno.test("two machines have the same bits over Open MPI and over MPICH, and one has them too", () =>
  withFolder(async (folder) => {
    await using machines = await Machines.make();
    const flags = flagsFor(folder);
    const outcomes = [];
    for (const [index, launcher] of [OPEN_MPI, MPICH, ONE_MACHINE].entries()) {
      const out = join(folder, `run ${index}`);
      const args = ["train", ...flags, "--out", out];
      const { code, stdout } = await trainOnBoth(machines, launcher, args);
      // Debian's MPICH over TCP may never come out of MPI_Finalize, when all is done (openucx/ucx#2254).
      if (launcher !== MPICH) assert.equal(code, 0, stdout);
      assert.ok(existsSync(join(out, "DONE")), stdout);
      const machinesUsed = launcher === ONE_MACHINE ? "1 machine" : "2 machines";
      assert.match(stdout, new RegExp(`2 processes on ${machinesUsed}\\b`));
      outcomes.push(outcomeOf(out));
    }
    for (const outcome of outcomes.slice(1)) assertSameOutcome(outcome, outcomes[0]);
  }));

Deno.test("a rank that is killed, stopped or cut off ends the whole job, which goes on to the same bits", () =>
  withFolder(async (folder) => {
    await using machines = await Machines.make();
    let at = 0;
    const { done } = await trainInterrupted(folder, flagsFor(folder, 12), FAULTS.length, {
      random: () => 0.25, // a run of each is over before the training is
      run: (args) => trainOnBoth(machines, OPEN_MPI, args),
      interrupt: async (args, after) => {
        const fault = FAULTS[at];
        const struck = await strike(machines, OPEN_MPI, args, { fault, rank: at++ % 2, after });
        return struck !== null;
      },
    });
    assert.equal(done, FAULTS.length);
  }));

for (const fault of FAULTS) {
  Deno.test(`a job over MPICH ends where one of its ranks meets a ${fault}`, () =>
    withFolder(async (folder) => {
      await using machines = await Machines.make();
      const args = ["train", ...flagsFor(folder, 100), "--out", join(folder, "run")];
      assert.ok(await strike(machines, MPICH, args, { fault, rank: 1, after: 4000 }));
    }));
}
