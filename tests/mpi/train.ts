// Trainings of several processes over MPI: goldens, whole runs, and what a stop leaves. Run by
// `deno task test:mpi`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { withFolder } from "../train/_folder.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../train/_resume.ts";
import { until } from "../train/_until.ts";
import { type Engine, MPICH, OPEN_MPI } from "./_engines.ts";
import { endOf, printed, program, runJob, startJob } from "./_jobs.ts";

/** Soft labels, pseudo labels, and what comes before them. */
const STAGES = ["source", "stage1", "stage2"] as const;
const GOLDENS = ["stages", "self_supervised/self_supervised", "distil/distil"];

for (const golden of GOLDENS) {
  Deno.test(`two ranks agree with PyTorch in the steps of ${golden}_test`, async () => {
    const { library } = OPEN_MPI;
    const test = [
      ...["deno", "test", "--no-prompt", "--no-check", "--allow-read", `--allow-ffi=${library}`],
      ...["--allow-env=MPI_LIB", "--preload", "tests/mpi/_as_rank.ts"],
      ...["--filter", "agree with PyTorch", `tests/train/stages/${golden}_test.ts`],
    ];
    const { code, stdout, stderr } = await runJob(OPEN_MPI, [test, test], { MPI_LIB: library });
    assert.equal(code, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /[2-9] passed/);
  });
}

Deno.test("the example's loop learns the same on one, two and four ranks, over either engine", async () => {
  const outputs = [];
  for (const [engine, count] of [[OPEN_MPI, 1], [OPEN_MPI, 2], [MPICH, 4]] as const) {
    const { library } = engine;
    const permissions = [`--allow-ffi=${library}`, `--allow-read=${library}`];
    const one = ["deno", "run", "--no-prompt", ...permissions, "examples/several_gpus.ts", library];
    const { code, stdout, stderr } = await runJob(engine, Array(count).fill(one));
    assert.equal(code, 0, stderr);
    const lines = stdout.trim().split("\n");
    assert.match(lines.pop() ?? "", new RegExp(`^${count} ranks, `));
    outputs.push(lines);
  }
  assert.equal(outputs[0]?.length, 3);
  for (const lines of outputs) assert.deepEqual(lines, outputs[0]);
});

/** Writes the configuration of a run of seconds, and returns the command line that trains it. */
function training(folder: string, out: string, parallel: Record<string, unknown>): string[] {
  const tiny = tinyConfig(folder) as { data: object; stages: Record<string, object> };
  const config = {
    ...tiny,
    pipeline: STAGES,
    data: { ...tiny.data, batch: 4 },
    stages: { ...tiny.stages, stage2: { ...tiny.stages.stage2, studentStart: "teacher" } },
    parallel,
  };
  const path = join(folder, `${out}.json`);
  Deno.writeTextFileSync(path, JSON.stringify(config));
  return program("train", "--config", path, "--out", join(folder, out));
}

/** Runs a command that knows nothing of the launcher. */
async function alone(command: readonly string[]): Promise<void> {
  const { code, stderr } = await runJob(OPEN_MPI, [command]);
  assert.equal(code, 0, stderr);
}

/** The same command for a rank of two on one adapter. */
function asRank({ library }: Engine, command: readonly string[]): string[] {
  return [...command, "--mpi", library, "--share-adapter"];
}

async function together(engine: Engine, command: readonly string[]): Promise<void> {
  const one = asRank(engine, command);
  const { code, stderr } = await runJob(engine, [one, one]);
  assert.equal(code, 0, stderr);
}

Deno.test("four shards have the same bits in one process, and in two over either engine", () =>
  withFolder(async (folder) => {
    const parallel = { shards: 4 };
    await alone(training(folder, "alone", parallel));
    const expected = outcomeOf(join(folder, "alone"), STAGES);
    for (const engine of [OPEN_MPI, MPICH]) {
      const out = `over ${engine.launcher}`;
      await together(engine, training(folder, out, parallel));
      assertSameOutcome(outcomeOf(join(folder, out), STAGES), expected);
      const { ranks, stages } = JSON.parse(
        Deno.readTextFileSync(join(folder, out, "result.json")),
      );
      assert.equal(ranks.size, 4);
      assert.match(ranks.engine, engine === MPICH ? /MPICH/ : /Open MPI/);
      for (const { times } of stages) {
        assert.ok(times.compute > 0 && times.readBack > 0 && times.reduce > 0, `${times}`);
      }
    }
  }));

Deno.test("gradients that travel as halves lead near to where whole ones lead", () =>
  withFolder(async (folder) => {
    const lossesOf = (out: string) =>
      Deno.readTextFileSync(join(folder, out, "metrics.jsonl")).trim().split("\n")
        .map((line) => JSON.parse(line)).filter(({ stage }) => stage === "source")
        .map(({ source }) => source as number);
    for (const wire of ["f32", "f16"]) {
      await together(OPEN_MPI, training(folder, wire, { wire: wire }));
    }
    const [whole, halves] = [lossesOf("f32"), lossesOf("f16")];
    assert.equal(whole.length, 4);
    assert.equal(whole[0], halves[0], "the first step has no gradients behind it");
    assert.notDeepEqual(whole, halves);
    whole.forEach((loss, at) => assert.ok(Math.abs(halves[at]! / loss - 1) < 1e-3, `step ${at}`));
  }));

Deno.test("a signal that the launcher hands on stops all ranks at one step, and resumed they end as if none had come", () =>
  withFolder(async (folder) => {
    await together(OPEN_MPI, training(folder, "whole", {}));
    const stopped = training(folder, "stopped", {});
    const out = join(folder, "stopped");
    const one = asRank(OPEN_MPI, stopped);
    const job = startJob(OPEN_MPI, [one, one]);
    const ended = endOf(job);
    const metrics = join(out, "metrics.jsonl");
    await until(
      "stage 1 has begun",
      () => existsSync(metrics) && Deno.readTextFileSync(metrics).includes('"stage1"'),
    );
    job.kill("SIGUSR2");
    const { code, stderr } = await ended;
    assert.equal(code, 140, stderr);
    assert.ok(!existsSync(join(out, "DONE")));
    const resumed = asRank(OPEN_MPI, program("train", "--resume", out, "--json"));
    const again = await runJob(OPEN_MPI, [resumed, resumed]);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(printed<{ stages: unknown[] }>(again).stages.length, STAGES.length);
    assert.ok(existsSync(join(out, "DONE")));
    assertSameOutcome(outcomeOf(out, STAGES), outcomeOf(join(folder, "whole"), STAGES));
  }));
