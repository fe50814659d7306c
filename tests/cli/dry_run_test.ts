import { strict as assert } from "node:assert";
import { join } from "node:path";
import { existsSync } from "node:fs";
import { formatDryRun } from "../../cli/dry_run.ts";
import { presetConfig } from "../../train/config/config.ts";
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
    /^0\.\d+ million parameters, 8 classes; a step learns 4 images of 96×64 a domain$/,
  );
  assert.match(lines[1] as string, /: \S+ GFLOP\/s in convolutions, \S+ GB\/s, \S+ µs per kernel$/);
  assert.match(lines[3] as string, /^stage +steps +GFLOP\/step +peak +kept +s\/step +time$/);
  for (const [index, name] of ["source", "warmup", "stage1"].entries()) {
    const row = new RegExp(`^${name} +\\d+ +0\\.\\d+ +\\S+ MiB +\\S+ MiB +\\S+ +\\S+$`);
    assert.match(lines[5 + index] as string, row);
  }
  assert.match(stdout, /^Evaluation of whole images, of data.longSide 256, holds \S+ MiB\.$/m);
  assert.ok(lines.every((line) => line.length <= 100), "no line is wider than a hundred columns");
});

Deno.test("a dry run sums up and says what its memory depends on", async () => {
  const { stdout } = await dryRun("--stages", "source,warmup,stage1");
  const lines = stdout.split("\n");
  const rows = ["source", "warmup", "stage1", "all"].map((name) =>
    (lines.find((line) => line.startsWith(`${name} `)) ?? "").trim().split(/ {2,}/)
  );
  const all = rows.pop() ?? [];
  assert.equal(Number(all[1]), rows.reduce((sum, [, steps]) => sum + Number(steps), 0));
  const peaks = rows.map((row) => parseFloat(row[3]));
  assert.equal(parseFloat(all[2]), Math.max(...peaks));
  const largest = rows[peaks.indexOf(Math.max(...peaks))];
  assert.match(stdout, new RegExp(`^A step of ${largest[0]} holds ${largest[3]} at once, `, "m"));
  assert.match(stdout, /It grows with data\.cropWidth × data\.cropHeight, 96×64 here;$/m);
  assert.match(stdout, /^--recompute lowers it to \S+ MiB, --accumulate 4 to \S+ MiB/m);
  assert.doesNotMatch(stdout, /in a month/);
});

Deno.test("what saves memory is advised where it does, and only then", async () => {
  const savings = async (...flags: string[]): Promise<string[]> => {
    const { stdout } = await dryRun("--json", "--stages", "warmup", ...flags);
    const { plan, savings } = JSON.parse(stdout);
    const less: { flags: string; peak: number }[] = savings;
    assert.ok(less.every(({ peak }) => peak < 0.95 * plan.stages[0].peak));
    return less.map(({ flags }) => flags);
  };
  // Both together save hardly more here than one does.
  assert.deepEqual(await savings(), ["--recompute", "--accumulate 4"]);
  assert.deepEqual(await savings("--accumulate", "4", "--recompute"), []);
});

/** What a dry run finds of one stage whose step takes so many seconds. */
function found(seconds: number): Parameters<typeof formatDryRun>[0] {
  const step = { flops: 1e12, bytes: 1, dispatches: 1 };
  return {
    adapter: "none",
    classes: 8,
    plan: {
      parameters: 1e6,
      stages: [{ name: "source", steps: 1000, peak: 1, peakTaken: 1, step }],
      evaluation: { image: step, peak: 1, problem: "it is too large", longSide: 96 },
    },
    throughput: { flops: 1e9, bytes: 1e9, dispatch: 1e-5 },
    secondsPerStep: { source: seconds },
    savings: [],
    reasons: [],
    choices: [],
  };
}

Deno.test("a dry run says when a machine cannot do it in a month, and what could", () => {
  const config = presetConfig("quick");
  const day = 86.4; // of a thousand steps
  assert.doesNotMatch(formatDryRun(found(29 * day), config), /month/);
  const text = formatDryRun(found(31 * day), config);
  assert.match(text, /^This machine cannot do it in a month: 31\.0 days of steps\. In a week it /m);
  assert.match(text, /^computes 0\.00165 TFLOP\/s; or learn less: /m); // 1e15 in 604,800 s
});

Deno.test("images that are too large for an adapter are told with the setting and a size that fits", () => {
  const text = formatDryRun(found(1), presetConfig("quick"));
  assert.match(
    text,
    /cannot be evaluated on this adapter at data\.longSide 256: an array of one is\n/,
  );
  assert.match(text, /^larger than it binds\. Set data\.longSide to 96 or less \(--config\)\.$/m);
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
