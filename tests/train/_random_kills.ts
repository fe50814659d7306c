// Kills trainings again and again at random moments and resumes them, then compares every bit with
// trainings that were left alone. Too long for the suite: `deno task kills 40`.

import { join } from "node:path";
import { runProgram } from "../cli/_program.ts";
import { trainInterrupted } from "./_interrupted.ts";
import { killWhen, tinyConfig } from "./_resume.ts";

/** What is trained: settings over the tiny configuration, and flags. */
const TRAININGS: Readonly<Record<string, { values: object; flags: readonly string[] }>> = {
  "as streets": { values: {}, flags: [] },
  "RandAugment, in two parts, by the paper": {
    values: { strongView: "randaugment" },
    flags: ["--accumulate", "2", "--recipe", "paper"],
  },
  "RandAugment, in two parts, by the released code": {
    values: { strongView: "randaugment" },
    flags: ["--accumulate", "2", "--recipe", "official"],
  },
};

const wanted = Number(Deno.args[0] ?? 40);
for (const [index, [title, { values, flags }]] of Object.entries(TRAININGS).entries()) {
  const count = Object.keys(TRAININGS).length;
  const kills = Math.floor(wanted / count) + Number(index < wanted % count);
  const folder = Deno.makeTempDirSync();
  const config = join(folder, "tiny.json");
  const steps = Math.max(4, 3 * kills); // long enough to be killed that often
  const tiny = tinyConfig(folder, steps);
  Deno.writeTextFileSync(
    config,
    JSON.stringify({ ...tiny, data: { ...tiny.data as object, ...values } }),
  );
  const { done, runs } = await trainInterrupted(folder, ["--config", config, ...flags], kills, {
    run: (args) => runProgram(...args),
    interrupt: (args, after) => {
      const until = performance.now() + after;
      return killWhen(() => performance.now() > until, args);
    },
  });
  console.log(
    `${title}: ${done} kills in ${runs} runs of 6 × ${steps} steps: every bit is as in a run without one`,
  );
  Deno.removeSync(folder, { recursive: true });
}
