// One process of a job over MPI: what all of them agree on, which adapter each takes, and how all end where
// one fails.

import type { AdapterDescription } from "../kernels/runtime/mod.ts";
import { checkThreadsCanStart } from "../train/base/thread.ts";
import {
  type AdapterChoice,
  checkChosen,
  checkDistinct,
  checkLayer,
  chooseAdapter,
  readGpus,
  threadsFor,
} from "../train/parallel/adapters.ts";
import { gatherTexts, largestOf, textOfFirst } from "../train/parallel/gather.ts";
import { checkLauncher, launcherOf } from "../train/parallel/launcher.ts";
import { EXIT_TIMEOUT, Mpi } from "../train/parallel/mpi.ts";
import { leave, Watchdog } from "../train/parallel/watchdog.ts";
import type { TrainingObserver } from "../train/run/observer.ts";
import { DEFAULT_TIMEOUT, GPUS_VARIABLE, libraryOf, type MpiFlags } from "./mpi_options.ts";
import { printError } from "./output.ts";
import { checkSame } from "./same_config.ts";
import { boundNote, count, placeOf, type SeenRank } from "./seen_rank.ts";
import type { StopSignals } from "./signals.ts";
import type { ResolvedConfig } from "./train_config.ts";

/** How long another rank lets the first say what has ended the job: they often meet the same. */
const FIRST_SAYS_MILLISECONDS = 500;

/** How long ranks that have done everything may take to leave their job. */
const SECONDS_TO_LEAVE = 10;

/** An error of a rank, which ends its job. */
export class FailedRank extends Error {
  /** The class name. */
  override readonly name = "FailedRank";
  /** The rank's job. */
  readonly job: Job;

  /** Takes what was thrown. */
  constructor(job: Job, cause: unknown) {
    super("a rank has failed", { cause });
    this.job = job;
  }
}

/**
 * Joins the job that this process was started for, does the work of a rank, and leaves the job.
 *
 * @param work Returns the rank's exit code.
 * @returns The largest of all ranks.
 * @throws {CollectiveError} If the job cannot be joined.
 * @throws {FailedRank} If anything fails afterwards.
 */
export async function inJob(
  flags: MpiFlags,
  work: (job: Job) => Promise<number>,
): Promise<number> {
  const job = new Job(flags);
  try {
    await job.meet();
    const exitCode = await job.largest(await work(job));
    await job.leave(exitCode);
    return exitCode;
  } catch (error) {
    throw new FailedRank(job, error);
  }
}

/** This process among those of its job. */
export class Job {
  /** The processes. */
  readonly ranks: Mpi;
  /** The path of the library that connects them. */
  readonly library: string;
  readonly #flags: MpiFlags;
  readonly #watchdog: Watchdog;
  #hosts: readonly string[];
  #choice: AdapterChoice | null = null;
  #threads: number | null = null;
  #folder: string | undefined;
  #stage: string | null = null;
  #step: number | null = null;

  /**
   * Joins.
   *
   * @throws {CollectiveError} If there is no library, or it does not start.
   */
  constructor(flags: MpiFlags) {
    const { mpi = true, collectiveTimeout = DEFAULT_TIMEOUT } = flags;
    const timeout = 1000 * collectiveTimeout;
    this.#flags = flags;
    this.library = libraryOf(mpi);
    this.#hosts = [Deno.hostname()];
    checkThreadsCanStart();
    const worker = new Worker(new URL("./watchdog_worker.ts", import.meta.url), { type: "module" });
    // Before the job is joined: a rank that was never started would be waited for as well.
    this.#watchdog = new Watchdog(worker, this.library, timeout);
    try {
      this.ranks = new Mpi({
        library: this.library,
        timeout,
        onTimeout: (reason) => this.#giveUp(reason),
      });
    } catch (error) {
      this.#watchdog[Symbol.dispose]();
      throw error;
    }
    const { rank, size } = this.ranks;
    this.#watchdog.joined({ rank, size, host: this.#host });
  }

  get #host(): string {
    return this.#hosts[this.#hosts.length > 1 ? this.ranks.rank : 0];
  }

  /** Whether this is the rank that prints. */
  get isFirst(): boolean {
    return this.ranks.rank === 0;
  }

  /**
   * Learns who the others are.
   *
   * @throws {DataError} If the library knows of other processes than the launcher has started.
   */
  async meet(): Promise<void> {
    const { engine, size } = this.ranks;
    checkLauncher(launcherOf((name) => Deno.env.get(name)), {
      engine,
      library: this.library,
      size,
    });
    this.#hosts = await gatherTexts(this.ranks, this.#host);
  }

  /**
   * The configuration of all ranks.
   *
   * @param isNamedByTime Whether its folder is, which another second and place gives another name.
   * @throws {DataError} If this rank has another one than the first.
   */
  async agree(own: ResolvedConfig, isNamedByTime: boolean): Promise<ResolvedConfig> {
    const first = await this.ofFirst(null, () => own.config);
    const config = isNamedByTime ? { ...own.config, out: first.out } : own.config;
    checkSame(this.ranks.rank, config, first);
    this.#folder = config.out;
    this.#watchdog.runsIn(config.out);
    return { ...own, config };
  }

  /** The ranks of this machine. */
  get #localRanks(): number {
    return this.#hosts.filter((host) => host === this.#host).length;
  }

  /**
   * Chooses the adapter that is opened next.
   *
   * @throws {DataError} If there are too few, or nothing heeds the choice.
   */
  chooseAdapter(): void {
    const { adapters = null, shareAdapter = false } = this.#flags;
    this.#choice = chooseAdapter({
      gpus: readGpus(Deno.env.get(GPUS_VARIABLE) ?? ""),
      asked: adapters,
      localRank: this.ranks.localRank,
      localRanks: this.#localRanks,
      shares: shareAdapter,
      read: (name) => Deno.env.get(name),
    });
    const { environment } = this.#choice;
    if (Object.keys(environment).length > 0) {
      checkLayer();
      // Of two names that it is given, the layer heeds one.
      for (const name of ["MESA_VK_DEVICE_SELECT", "DRI_PRIME"]) Deno.env.delete(name);
    }
    for (const [name, value] of Object.entries(environment)) Deno.env.set(name, value);
    // Without this Deno would quietly take OpenGL where Vulkan finds no driver.
    if (Deno.build.os === "linux") Deno.env.set("DENO_WEBGPU_BACKEND", "vulkan");
    if (!shareAdapter) return;
    const given = Number(Deno.env.get("LP_NUM_THREADS") || NaN);
    this.#threads = Number.isNaN(given)
      ? threadsFor(navigator.hardwareConcurrency, this.#localRanks)
      : given;
    Deno.env.set("LP_NUM_THREADS", `${this.#threads}`); // which Mesa's software adapter alone heeds
  }

  /**
   * What is to tell of this rank.
   *
   * @throws {DataError} If it has not got the adapter that it was to get.
   */
  seen(adapter: AdapterDescription): SeenRank {
    if (this.#choice) checkChosen(this.#choice, adapter);
    return {
      host: this.#host,
      description: adapter.description,
      wanted: this.#choice?.wanted ?? null,
      processors: navigator.hardwareConcurrency,
      threads: adapter.isFallback ? this.#threads : null,
    };
  }

  /** Values of all ranks, by rank. */
  async gather<T>(own: T): Promise<T[]> {
    const texts = await gatherTexts(this.ranks, JSON.stringify(own));
    return texts.map((text) => JSON.parse(text));
  }

  /**
   * Refuses two ranks on one adapter, unless they are to share it.
   *
   * @throws {DataError} If two have the same.
   */
  checkDistinct(all: readonly SeenRank[]): void {
    if (!this.#flags.shareAdapter) checkDistinct(all);
  }

  /** Lines about all ranks. */
  describe(all: readonly SeenRank[]): string[] {
    const { engine, size } = this.ranks;
    const machines = new Set(this.#hosts).size;
    return [
      `${engine}, ${this.library}: ${count(size, "process", "processes")} on ` +
      count(machines, "machine", "machines"),
      ...all.map((seen, rank) => `rank ${rank} on ${placeOf(seen)}`),
      ...boundNote(all).map((note) => `NOTE: ${note}`),
    ];
  }

  /**
   * What the first rank finds out, for all of them.
   *
   * @param find Called on that rank alone; where it gives up because of a signal, the others stop as well.
   * @returns What JSON keeps of it.
   */
  async ofFirst<T>(stop: StopSignals | null, find: () => Promise<T> | T): Promise<T> {
    let found: { readonly value?: T; readonly exitCode: number } = { exitCode: 0 };
    if (this.isFirst) {
      found = await (async () => await find())().then(
        (value) => ({ value, exitCode: stop?.exitCode ?? 0 }),
        (error) => {
          if (!stop?.signal.aborted || error !== stop.signal.reason) throw error;
          return { exitCode: stop.exitCode };
        },
      );
    }
    const told: typeof found = JSON.parse(await textOfFirst(this.ranks, JSON.stringify(found)));
    if (told.exitCode !== 0) { // a signal of this rank alone is for all of them to agree on
      stop?.follow(told.exitCode);
      stop?.signal.throwIfAborted();
    }
    return told.value as T;
  }

  /** Remembers how far the run has come. */
  get observer(): TrainingObserver {
    return {
      stageStart: ({ name, firstStep }) => {
        [this.#stage, this.#step] = [name, firstStep];
        this.#watchdog.stage(name, firstStep);
      },
      step: ({ step }) => {
        this.#step = step + 1;
        this.#watchdog.step(step + 1);
      },
      evaluation: () => {},
      stageEnd: () => {},
      message: () => {},
    };
  }

  /** The largest of a number of each rank. */
  largest(value: number): Promise<number> {
    return largestOf(this.ranks, value);
  }

  /**
   * Leaves the job in good order, when all do.
   *
   * @param exitCode That of a process that cannot leave: UCX, which MPICH may use, hangs at times there.
   */
  async leave(exitCode: number): Promise<void> {
    await this.ranks.barrier();
    this.#watchdog.ending(exitCode, SECONDS_TO_LEAVE);
    this.ranks.close();
    this.#watchdog[Symbol.dispose]();
  }

  /**
   * Says in a sentence what has failed on this rank, and ends all of them.
   *
   * @returns The exit code, of a rank that is alone.
   */
  async end(exitCode: number, sentence: string): Promise<number> {
    const { rank, size } = this.ranks;
    if (size === 1) {
      printError(sentence);
      this.ranks.close();
      return exitCode;
    }
    if (rank > 0) await new Promise((resolve) => setTimeout(resolve, FIRST_SAYS_MILLISECONDS));
    printError(`Rank ${rank} of ${size} on ${this.#host}: ${sentence}`);
    this.#watchdog.ending(exitCode);
    return this.ranks.abort(exitCode);
  }

  #giveUp(reason: string): void {
    const { rank, size } = this.ranks;
    const [host, stage, step] = [this.#host, this.#stage, this.#step];
    const time = new Date().toISOString();
    leave({ rank, size, host, stage, step, time, reason }, this.#folder, printError);
    printError(`On ${host}, ${reason}`);
    this.#watchdog.ending(EXIT_TIMEOUT);
  }
}
