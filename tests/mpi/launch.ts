// What surrounds a training of several processes: launchers, adapters, agreement, failures. Run by
// `deno task test:mpi`.

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JobDiagnosis } from "../../cli/doctor_mpi.ts";
import { permissionsOf } from "../../cli/permissions.ts";
import { takeFailure, writeFailure } from "../../train/parallel/failure.ts";
import { namesIn, withFolder } from "../train/_folder.ts";
import { type Engine, MPICH, OPEN_MPI } from "./_engines.ts";
import { type Ended, printed, program, runJob, startJob } from "./_jobs.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const RANK = fileURLToPath(new URL("job_rank.ts", import.meta.url));
/** Seconds after which a job that will fail is given up: enough for all ranks to start. */
const TIMEOUT = 3;

/** A training that should not begin, which is soon over if it does. */
const SHORT = ["--preset", "quick", "--stages", "source", "--steps", "1"];

/** A rank that may do what `./run train --mpi` lets it do, and nothing else. */
function rank({ library }: Engine, what: string, folder: string): string[] {
  const variables = "MPI_LIB,OMPI_COMM_WORLD_SIZE,PMI_SIZE,SLURM_STEP_NUM_TASKS";
  return [
    ...[
      "deno",
      "run",
      "--no-prompt",
      "--no-check",
      "--allow-read",
      `--allow-write=${dirname(folder)}`,
    ],
    ...[`--allow-ffi=${library}`, `--allow-env=${variables}`, "--allow-sys=hostname"],
    ...[RANK, library, what, folder, String(what === "work" ? 60 : TIMEOUT)],
  ];
}

/** A folder of a run that has begun, which rank 0 names. */
function begin(folder: string): string {
  Deno.mkdirSync(join(folder, "run0"));
  Deno.writeTextFileSync(join(folder, "run0", "config.json"), "{}");
  return join(folder, "run");
}

for (const engine of [OPEN_MPI, MPICH]) {
  const { launcher, library } = engine;
  Deno.test(`ranks of ${launcher} agree on the first one's folder, on what it finds, and on a stop`, () =>
    withFolder(async (folder) => {
      const one = rank(engine, "work", begin(folder));
      const { code, stdout, stderr } = await runJob(engine, [one, one]);
      assert.equal(code, 140, stderr);
      assert.deepEqual(stdout.trim().split("\n").sort(), [
        "rank 0 hears found by rank 0",
        `rank 0 runs in ${folder}/run0`,
        "rank 1 hears found by rank 0",
        `rank 1 runs in ${folder}/run0`,
      ]);
    }));

  // A GPU that is kept busy, and any other thing that blocks the thread.
  const what = engine === MPICH ? "block" : "hang";
  Deno.test(`a rank of ${launcher} that does not answer (${what}) ends the job and says why`, () =>
    withFolder(async (folder) => {
      const one = rank(engine, what, begin(folder));
      const { code, stderr } = await runJob(engine, [one, one]);
      assert.equal(code, 75, stderr);
      assert.match(
        stderr,
        /^Rank 1 of 2 on \S+ ends the job at stage1, step 4: it has not answered for 3 s: its GPU/m,
      );
      assert.match(
        takeFailure(join(folder, "run0")) ?? "",
        /^The run was ended at stage1, step 4, by rank 1 of 2 on \S+, 2\S+Z: it has not answered/,
      );
    }));

  const other = engine === MPICH ? OPEN_MPI : MPICH;
  Deno.test(`a library that ${launcher} does not start for is refused, and no run begins`, () =>
    withFolder(async (folder) => {
      const out = join(folder, "run");
      const train = program("train", ...SHORT, "--out", out, "--mpi", other.library);
      const { code, stderr } = await runJob(engine, [train, train]);
      assert.equal(code, 2, stderr);
      assert.match(
        stderr,
        /^Cannot train as mpirun of .* has started 2 processes and .* knows of 1: expected .*--mpi\)$/m,
      );
      assert.deepEqual(namesIn(folder), []);
    }));

  Deno.test(`doctor finds ${launcher} and the ranks that it has started`, async () => {
    const doctor = program("doctor", "--mpi", library, "--json", "--share-adapter");
    // Whatever else is asked for: adapters are chosen by Vulkan's means.
    const ended = await runJob(engine, [doctor, doctor], { DENO_WEBGPU_BACKEND: "gl" });
    const { ready, verdict, backend, mpi } = printed<JobDiagnosis>(ended);
    assert.deepEqual([ended.code, ready, backend], [0, true, "vulkan"], verdict);
    assert.equal(mpi?.library, library);
    assert.equal(mpi?.interface, engine === MPICH ? "MPICH" : "Open MPI");
    assert.match(mpi?.version ?? "", engine === MPICH ? /^MPICH / : /^Open MPI v/);
    assert.match(mpi?.launcher ?? "", engine === MPICH ? /MPICH/ : /Open MPI/);
    assert.equal(mpi?.ranks.length, 2);
    const processors = navigator.hardwareConcurrency;
    for (const rank of mpi.ranks) {
      assert.deepEqual([rank.processors, rank.threads], [processors, Math.max(1, processors >> 1)]);
    }
  });
}

Deno.test("ranks that wait in vain for another say so in the run's folder", () =>
  withFolder(async (folder) => {
    const one = rank(OPEN_MPI, "sleep", begin(folder));
    const { code, stderr } = await runJob(OPEN_MPI, [one, one]);
    assert.equal(code, 75, stderr);
    assert.match(stderr, /^On \S+, rank 0 of 2 could not wait for each other within 3 s: /m);
    assert.match(
      takeFailure(join(folder, "run0")) ?? "",
      /^The run was ended at stage1, step 4, by rank 0 of 2 on \S+, 2\S+Z: rank 0 of 2 could not/,
    );
  }));

for (const [engine, exitCode] of [[OPEN_MPI, 75], [MPICH, 6]] as const) {
  Deno.test(`a job of ${engine.launcher} that not all processes join is ended`, () =>
    withFolder(async (folder) => {
      const one = rank(engine, "never", begin(folder));
      const started = performance.now();
      const { code, stderr } = await runJob(engine, [one, ["sleep", "30"]]);
      assert.ok(performance.now() - started < 20_000, "the launcher has not waited");
      assert.equal(code, exitCode, stderr);
      assert.match(
        stderr,
        /^Cannot join the job as not all of its processes have come within 3 s: /m,
      );
    }));
}

Deno.test("doctor is content where a launcher of the library is there, and says where none is", async () => {
  const doctorIn = async (env: Record<string, string>) => {
    const permissions = await permissionsOf(["doctor", "--mpi", OPEN_MPI.library]) ?? [];
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--allow-read", ...permissions, MAIN],
        ...["doctor", "--mpi", OPEN_MPI.library],
      ],
      env,
    }).output();
    return { code, text: new TextDecoder().decode(stdout) };
  };
  const { code, text } = await doctorIn({ PATH: "/nowhere:/usr/bin" });
  assert.equal(code, 0, text);
  assert.match(text, /\nNext: \/usr\/bin\/mpirun\S* -n 2 --bind-to none \.\/run train --mpi \/usr/);
  const without = await doctorIn({ PATH: "/nowhere" });
  assert.equal(without.code, 2, without.text);
  assert.match(
    without.text,
    /^Cannot start several processes as PATH has no launcher of Open MPI: /m,
  );
});

Deno.test("two ranks on one adapter are refused before there is a run", () =>
  withFolder(async (folder) => {
    const train = program("train", "--mpi", ...SHORT, "--out", join(folder, "run"));
    const { code, stderr } = await runJob(OPEN_MPI, [train, train]);
    assert.equal(code, 2, stderr);
    const sentences = stderr.split("\n").filter((line) => line.includes("Cannot"));
    assert.equal(sentences.length, 1, "the first rank says it for all");
    assert.match(sentences[0], /^Rank 0 of 2 on .* \(--adapters, --share-adapter\)$/);
    assert.deepEqual(namesIn(folder), []);
  }));

Deno.test("each rank of a machine gets the adapter that is named for it, of another driver too", async () => {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: [fileURLToPath(new URL("../swiftshader_driver.sh", import.meta.url))],
    stderr: "inherit",
  }).output();
  const driver = new TextDecoder().decode(stdout).trim();
  assert.notEqual(driver, "", "SwiftShader is a second adapter");
  const doctorOn = async (names: string) => {
    const doctor = program("doctor", "--mpi", "--json", "--adapters", names);
    return await runJob(OPEN_MPI, [doctor, doctor], { VK_ADD_DRIVER_FILES: driver });
  };
  const [llvmpipe, swiftShader] = ["10005:0", "1ae0:c0de"];
  const ended = await doctorOn([swiftShader, llvmpipe].join());
  const { ready, verdict, mpi } = printed<JobDiagnosis>(ended);
  assert.deepEqual([ended.code, ready], [0, true], verdict);
  assert.deepEqual(mpi?.ranks.map(({ wanted, threads }) => [wanted, threads]), [
    [swiftShader, null],
    [llvmpipe, null],
  ]);
  const [first, second] = mpi.ranks.map(({ description }) => description);
  assert.match(first, /SwiftShader/);
  assert.match(second, /llvmpipe/);
  const unknown = await doctorOn(`${llvmpipe},1ae0:c0df`);
  assert.equal(unknown.code, 2);
  assert.match(
    printed<JobDiagnosis>(unknown).verdict,
    /^Rank 1: Cannot train on adapter 1ae0:c0df as ".*" \(.*\) was given in its place: expected/,
  );
});

Deno.test("a rank that was started with other flags is named, with the first difference", () =>
  withFolder(async (folder) => {
    const [one, other] = ["0", "7"].map((seed) =>
      program(
        ...["train", "--mpi", "--share-adapter", ...SHORT, "--seed", seed],
        ...["--out", join(folder, "run")],
      )
    );
    const { code, stderr } = await runJob(OPEN_MPI, [one, other]);
    assert.equal(code, 2, stderr);
    assert.match(
      stderr,
      /^Rank 1 of 2 on \S+: Cannot train as rank 1 was started with another configuration than rank 0: seed is 7 in place of 0; /m,
    );
    assert.deepEqual(namesIn(folder), []);
  }));

/** A training of a few steps on a few images, and what it needs in a folder. */
function tinyTraining(folder: string): string[] {
  const config = {
    network: { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
    data: {
      ...{ batch: 2, cropHeight: 32, cropWidth: 64, longSide: 96 },
      heldOut: { share: 0 }, // a few steps learn nothing
      streets: {
        ...{ directory: join(folder, "streets"), width: 96, height: 48 },
        ...{ sourceTrain: 4, targetTrain: 4, targetVal: 2, sourceVal: 1, targetChoose: 1 },
      },
    },
    logEvery: 1,
  };
  Deno.writeTextFileSync(join(folder, "tiny.json"), JSON.stringify(config));
  return [
    "--config",
    join(folder, "tiny.json"),
    "--stages",
    "source",
    "--out",
    join(folder, "run"),
  ];
}

/** The command line of a rank that leaves its process number in a file. */
function numbered(path: string, command: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', path, ...command];
}

/** Runs a job whose second rank alone is told to stop, as soon as it prints a loss. */
async function stopSecond(engine: Engine, folder: string, command: string[]): Promise<Ended> {
  const path = join(folder, "second");
  const running = startJob(engine, [command, numbered(path, command)]);
  let stdout = "";
  const reading = (async () => {
    for await (const text of running.stdout.pipeThrough(new TextDecoderStream())) {
      const isStopping = stdout.includes("| loss");
      stdout += text;
      if (isStopping || !stdout.includes("| loss")) continue;
      await new Deno.Command("/bin/sh", { args: ["-c", 'kill -USR2 $(cat "$0")', path] }).output();
    }
  })();
  const [stderr, { code }] = await Promise.all([
    new Response(running.stderr).text(),
    running.status,
    reading,
  ]);
  return { code, stdout: stdout.replaceAll("\r", ""), stderr };
}

Deno.test("a signal to one rank stops all, and the run goes on under another launcher, which hears of failures", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run");
    const flags = ["--mpi", "--share-adapter", "--collective-timeout", "60s", "--steps", "200"];
    const train = program("train", ...flags, ...tinyTraining(folder));
    const first = await stopSecond(OPEN_MPI, folder, train);
    assert.equal(first.code, 140, first.stderr);
    assert.match(first.stdout, /^Stopped; \.\/run train --resume .*run goes on$/m);
    assert.equal(first.stdout.match(/^source +1\/200 /gm)?.length, 1, "one rank prints");
    const steps = Deno.readTextFileSync(join(out, "metrics.jsonl")).trim().split("\n").length;
    assert.ok(steps < 100, `stopped after ${steps} steps`);
    writeFailure(out, {
      ...{ rank: 1, size: 2, host: "node7", stage: "source", step: 3 },
      ...{ time: "2026-11-29T12:00:00.000Z", reason: "its GPU hangs" },
    });
    const resume = program("train", "--mpi", MPICH.library, "--share-adapter", "--resume", out);
    const second = await stopSecond(MPICH, folder, resume);
    assert.equal(second.code, 140, second.stderr);
    assert.match(
      second.stdout,
      /^The run was ended at source, step 3, by rank 1 of 2 on node7, .*Z: its GPU hangs$/m,
    );
    assert.match(second.stdout, new RegExp(`^source: goes on at step ${steps}/200$`, "m"));
    assert.ok(!namesIn(out).includes("failure.json"));
  }));
