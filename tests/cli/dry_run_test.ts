import { strict as assert } from "node:assert";
import { join } from "node:path";
import { existsSync } from "node:fs";
import { withFolder } from "../train/_folder.ts";
import { runProgram } from "./_program.ts";

const TINY = {
  network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
  data: { batch: 4, cropHeight: 64, cropWidth: 96 },
};

/** A dry run of a tiny network; checks that it wrote nothing. */
async function dryRun(...flags: string[]): ReturnType<typeof runProgram> {
  let result: Awaited<ReturnType<typeof runProgram>> | undefined;
  await withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    const out = join(folder, "out");
    const data = { ...TINY.data, streets: { directory: join(folder, "streets") } };
    Deno.writeTextFileSync(config, JSON.stringify({ ...TINY, data, out }));
    result = await runProgram("train", "--dry-run", "--config", config, ...flags);
    assert.ok(!existsSync(out) && !existsSync(join(folder, "streets")), "nothing was written");
  });
  assert.ok(result);
  return result;
}

Deno.test("a dry run shows parameters, arithmetic, memory and time of every stage, and trains nothing", async () => {
  const { code, stdout, stderr } = await dryRun();
  assert.deepEqual([code, stderr], [0, ""]);
  const lines = stdout.trimEnd().split("\n");
  assert.match(
    lines[0] as string,
    /^0\.\d+ million parameters, 8 classes; 4 images of 96×64 .* in 1 part/,
  );
  assert.match(lines[1] as string, /: \S+ GFLOP\/s in convolutions, \S+ GB\/s, \S+ µs per kernel$/);
  assert.match(lines[3] as string, /^stage +steps +GFLOP\/step +peak +kept +s\/step +time$/);
  for (const [index, name] of ["source", "warmup", "stage1"].entries()) {
    const row = new RegExp(`^${name} +\\d+ +0\\.\\d+ +\\S+ MiB +\\S+ MiB +\\S+ +\\S+$`);
    assert.match(lines[5 + index] as string, row);
  }
  assert.match(stdout, /Evaluation of whole images holds \S+ MiB\.$/m);
});

Deno.test("a dry run as JSON says less memory with recomputation and parts", async () => {
  const peakOf = async (...flags: string[]): Promise<number> => {
    const { code, stdout } = await dryRun("--json", "--stages", "source", ...flags);
    assert.equal(code, 0);
    const { plan, secondsPerStep } = JSON.parse(stdout);
    assert.ok(secondsPerStep.source > 0);
    return plan.stages[0].peak;
  };
  const [plain, less] = [await peakOf(), await peakOf("--recompute", "--accumulate", "4")];
  assert.ok(less < 0.9 * plain, `${less} of ${plain} bytes`);
});

Deno.test("a dry run refuses a memory budget that is too small", async () => {
  const { code, stdout, stderr } = await dryRun("--memory-budget", "1MiB");
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /^Cannot train \w+ in 1 MiB as a step holds \S+ MiB: .*--memory-budget/);
});

Deno.test("a dry run of the full preset needs no data", () =>
  withFolder(async (folder) => {
    const config = join(folder, "narrow.json"); // so that measuring takes no time
    Deno.writeTextFileSync(config, JSON.stringify({ network: { width: 4 } }));
    const { code, stdout, stderr } = await runProgram(
      ...["train", "--preset", "full", "--stages", "stage1", "--json", "--dry-run"],
      ...["--config", config],
    );
    assert.equal(code, 0, stderr);
    const { classes, plan } = JSON.parse(stdout);
    assert.equal(classes, 19);
    assert.ok(plan.stages[0].peak > 2 ** 30);
  }));
