// A training of two ranks by Slurm: the job file that users copy is told to stop, queues itself again, and
// goes on. Run by `deno task test:cluster`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withFolder } from "../../train/_folder.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../../train/_resume.ts";

const ROOT = new URL("../../../", import.meta.url);
const SCRIPT = fileURLToPath(new URL("slurm.sh", import.meta.url));
const JOB_FILE = "examples/slurm/train.sbatch";
/** One machine stands for the two with four GPUs each of the job file. */
const SIZE = ["--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=1"];
/** Steps of each stage; enough that a job is told to stop in the middle of one. */
const STEPS = 6;

/** Slurm, until it is disposed. */
class Slurm implements AsyncDisposable {
  readonly #name = `slurm${Deno.pid}`;
  readonly #folder = Deno.makeTempDirSync({ prefix: "slurm" }); // sockets take no long paths

  async start(): Promise<this> {
    await this.#script("up", this.#name, this.#folder);
    return this;
  }

  /** Runs a command where Slurm is. */
  run(...command: string[]): Promise<string> {
    return this.#script("in", this.#name, this.#folder, ...command);
  }

  /** Queues the job file, as it is. */
  async submit(log: string, mpi: keyof typeof LIBRARIES, ...args: string[]): Promise<string> {
    const flags = [...SIZE, "--nice=5", "--parsable", `--output=${log}`];
    const environment = [
      ...[`JOB_MPI=${mpi}`, `MPI_LIB=${LIBRARIES[mpi]}`],
      "JOB_FLAGS=--share-adapter --collective-timeout 1m",
    ];
    return (await this.run("env", ...environment, "sbatch", ...flags, JOB_FILE, ...args)).trim();
  }

  /** What Slurm knows of a job. */
  async job(id: string): Promise<Record<string, string>> {
    const text = await this.run("scontrol", "--oneliner", "show", "job", id);
    return Object.fromEntries(text.trim().split(" ").map((field) => field.split(/=(.*)/)));
  }

  async #script(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
      args: [SCRIPT, ...args],
      cwd: ROOT,
    }).output();
    const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert.equal(code, 0, `slurm.sh ${args.join(" ")}: ${text}${errors}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#script("down", this.#name, this.#folder);
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** Waits until something holds. */
async function until(
  what: string,
  seconds: number,
  holds: () => boolean | Promise<boolean>,
  log: string,
): Promise<void> {
  const last = performance.now() + 1000 * seconds;
  while (!await holds()) {
    const text = () => existsSync(log) ? Deno.readTextFileSync(log) : "no log";
    assert.ok(performance.now() < last, `${what} takes longer than ${seconds} s:\n${text()}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function linesOf(path: string): number {
  return existsSync(path) ? Deno.readTextFileSync(path).split("\n").length - 1 : 0;
}

/** What Slurm starts ranks by, with the library that knows it. */
const LIBRARIES = { pmix: "libmpi.so.40", pmi2: "libmpich.so.12" } as const;

for (const mpi of ["pmix", "pmi2"] as const) {
  Deno.test(`a job of Slurm over ${mpi} stops at SIGUSR2, queues itself again and goes on to the same bits`, () =>
    withFolder(async (folder) => {
      await using slurm = await new Slurm().start();
      const config = join(folder, "tiny.json");
      Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, STEPS)));
      const [whole, stopped] = [join(folder, "whole"), join(folder, "stopped")];
      const log = join(folder, "log");

      const alone = await slurm.submit(log, mpi, whole, "--config", config);
      await until("a run", 200, () => existsSync(join(whole, "DONE")), log);
      const isOver = async () => (await slurm.job(alone)).JobState === "COMPLETED";
      await until("its end", 30, isOver, log);

      const id = await slurm.submit(log, mpi, stopped, "--config", config);
      const metrics = join(stopped, "metrics.jsonl");
      await until("the second stage", 100, () => linesOf(metrics) > STEPS, log);
      await slurm.run("scancel", "--signal=USR2", id);
      await until("the restart", 60, async () => (await slurm.job(id)).Restarts === "1", log);
      assert.ok(!existsSync(join(stopped, "DONE")));
      await until("the rest", 200, () => existsSync(join(stopped, "DONE")), log);

      const said = Deno.readTextFileSync(log);
      assert.match(said, /2 processes on 1 machine/);
      assert.match(said, /Stopping after this step/);
      assert.match(said, /Stopped with exit code 140: queued again/);
      assertSameOutcome(outcomeOf(stopped), outcomeOf(whole));
    }));
}
