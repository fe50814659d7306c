// A process that does not answer any more: a GPU that hangs blocks the thread that waits for it, with all
// its timers. So that thread counts beats in shared memory, and another one looks whether they go on.

import { endJob, endSoon, endUnjoined, GRACE } from "./end_job.ts";
import { type Failure, writeFailure } from "./failure.ts";
import { EXIT_TIMEOUT } from "./mpi.ts";

/** Looks within the time after which a thread is given up. */
const LOOKS = 20;
/**
 * Looks without a beat that are too many: somewhat fewer than the others wait, as the rank that hangs knows
 * best why.
 */
const MOST_MISSED = 17;
/** Most milliseconds between two looks. */
const MOST_BETWEEN = 2000;

/** What a watching thread is told first. */
interface WatchStart {
  readonly memory: SharedArrayBuffer;
  readonly library: string;
  /** Milliseconds between two looks, and how many without a beat are too many. */
  readonly between: number;
  readonly mostMissed: number;
}

/** What it is told later: what is known to say where the process was. */
interface WatchUpdate {
  readonly member?: { readonly rank: number; readonly size: number; readonly host: string };
  readonly folder?: string;
  readonly stage?: string;
  /** How a process ends in any case that is about to end, and when. */
  readonly ending?: { readonly exitCode: number; readonly seconds: number };
}

/** Places of the shared memory. */
const [BEATS, STEP] = [0, 1];

/** Beats for the thread that has made it, until it is disposed. */
export class Watchdog implements Disposable {
  readonly #worker: Worker;
  readonly #shared: Int32Array<SharedArrayBuffer>;
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * @param worker A thread whose module calls {@link watch}.
   * @param library The path of the library of MPI, by which the job is ended.
   * @param timeout Milliseconds after which a thread that does not beat is given up, or somewhat less.
   */
  constructor(worker: Worker, library: string, timeout: number) {
    this.#worker = worker;
    this.#shared = new Int32Array(new SharedArrayBuffer(8));
    const between = Math.min(MOST_BETWEEN, timeout / LOOKS);
    const mostMissed = Math.ceil(MOST_MISSED / LOOKS * timeout / between);
    const { buffer: memory } = this.#shared;
    const start: WatchStart = { memory, library, between, mostMissed };
    worker.postMessage(start);
    this.#timer = setInterval(() => Atomics.add(this.#shared, BEATS, 1), between / 2);
  }

  /** Tells which process it is, once it has joined a job. */
  joined(member: NonNullable<WatchUpdate["member"]>): void {
    this.#tell({ member });
  }

  /** Tells where the run lies, in which a reason is left. */
  runsIn(folder: string): void {
    this.#tell({ folder });
  }

  /** Tells which stage begins. */
  stage(stage: string, step: number): void {
    Atomics.store(this.#shared, STEP, step);
    this.#tell({ stage });
  }

  /** Tells how many steps of the stage are done. */
  step(done: number): void {
    Atomics.store(this.#shared, STEP, done);
  }

  /**
   * Tells that the process is about to end its job, or to leave it, and sees to it that it ends in any case.
   *
   * @param seconds How long it may take.
   */
  ending(exitCode: number, seconds: number = GRACE): void {
    this.#tell({ ending: { exitCode, seconds } });
  }

  #tell(update: WatchUpdate): void {
    this.#worker.postMessage(update);
  }

  /** Ends the watch. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#worker.terminate();
  }
}

/** A thread, as far as it takes messages. */
export interface Watching {
  onmessage: ((event: MessageEvent) => void) | null;
}

/**
 * Watches over the thread that has started this one, and ends the whole job where that does not answer: it
 * leaves a reason in the run folder, says it, and gives the exit code 75.
 *
 * @param say Prints a sentence.
 */
export function watch(scope: Watching, say: (text: string) => void): void {
  let known: WatchUpdate = {};
  scope.onmessage = ({ data: start }: MessageEvent<WatchStart>) => {
    scope.onmessage = ({ data }: MessageEvent<WatchUpdate>) => {
      known = { ...known, ...data };
      if (data.ending) endSoon(start.library, data.ending.exitCode, data.ending.seconds);
    };
    const shared = new Int32Array(start.memory);
    let [last, missed] = [-1, 0];
    // It counts looks and no time: a process that was stopped as a whole has missed none.
    const timer = setInterval(async () => {
      if (known.ending !== undefined) return clearInterval(timer);
      const beats = Atomics.load(shared, BEATS);
      missed = beats === last ? missed + 1 : 0;
      last = beats;
      if (missed < start.mostMissed) return;
      clearInterval(timer);
      const seconds = Math.round(start.mostMissed * start.between / 1000);
      const { member, folder, stage = null } = known;
      const failure = {
        ...member ?? { rank: 0, size: 1, host: "" },
        stage,
        step: stage === null ? null : Atomics.load(shared, STEP),
        time: new Date().toISOString(),
        reason: member
          ? `it has not answered for ${seconds} s: its GPU hangs, or a step takes longer than the others ` +
            "may wait"
          : `not all of its processes have come within ${seconds} s`,
      };
      leave(failure, folder, say);
      say(saidOf(failure, member !== undefined));
      if (member) await endJob(start.library, EXIT_TIMEOUT);
      else endUnjoined(start.library, EXIT_TIMEOUT);
    }, start.between);
  };
}

/** Leaves a reason where that can be done: it is said in any case. */
export function leave(
  failure: Failure,
  folder: string | undefined,
  say: (text: string) => void,
): void {
  if (folder === undefined) return;
  try {
    writeFailure(folder, failure);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
}

function saidOf({ rank, size, host, stage, step, reason }: Failure, isMember: boolean): string {
  if (!isMember) {
    return `Cannot join the job as ${reason}: expected all of them; see that each was started, and that ` +
      "their machines reach each other";
  }
  const at = stage === null ? "" : ` at ${stage}, step ${step}`;
  return `Rank ${rank} of ${size} on ${host} ends the job${at}: ${reason}`;
}
