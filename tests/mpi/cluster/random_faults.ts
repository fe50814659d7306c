// Strikes a training of two ranks on two machines again and again, each time otherwise and at a random
// moment, and resumes it; then compares every bit with one that was left alone. `deno task faults 12 0`:
// so many faults, drawn by that seed.

import { join } from "node:path";
import { Random } from "../../../nn/random.ts";
import { trainInterrupted } from "../../train/_interrupted.ts";
import { tinyConfig } from "../../train/_resume.ts";
import { strike, trainOnBoth } from "./_faults.ts";
import { FAULTS, Machines, OPEN_MPI } from "./_machines.ts";

const [wanted = 12, seed = 0] = Deno.args.map(Number);
const random = new Random(seed, "faults");
const folder = Deno.makeTempDirSync();
const steps = Math.max(4, 2 * wanted); // long enough to be struck that often
const config = join(folder, "tiny.json");
Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, steps)));
try {
  await using machines = await Machines.make();
  const { done, runs } = await trainInterrupted(folder, ["--config", config], wanted, {
    random: () => random.uniform(),
    run: (args) => trainOnBoth(machines, OPEN_MPI, args),
    interrupt: async (args, after) => {
      const fault = FAULTS[random.below(FAULTS.length)];
      const rank = random.below(2);
      const struck = await strike(machines, OPEN_MPI, args, { fault, rank, after });
      if (!struck) return false;
      const { seconds, ended: { code }, left } = struck;
      console.log(
        `${fault} rank ${rank} after ${(after / 1000).toFixed(1)} s: exit code ${code} within ` +
          `${seconds.toFixed(1)} s${left.length > 0 ? `; left: ${left.join(", ")}` : ""}`,
      );
      return true;
    },
  });
  console.log(
    `${done} faults in ${runs} runs of 6 × ${steps} steps: every bit is as in a run without one`,
  );
} finally {
  Deno.removeSync(folder, { recursive: true });
}
