// A training of two ranks on two machines, and what befalls it there.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "../../cli/_program.ts";
import type { Ended, Fault, Job, Launcher, Machines } from "./_machines.ts";
import { pause, program } from "./_machines.ts";

/** Seconds that ranks wait for each other. */
export const TIMEOUT = 6;
/** Seconds from a fault to the end of the whole job: those, and what the launcher takes to end the others. */
const MOST_SECONDS = TIMEOUT + 6;
/** Seconds that a training may take that nothing befalls. */
const WHOLE_SECONDS = 300;
const FLAGS = ["--mpi", "--share-adapter", "--collective-timeout", `${TIMEOUT}s`];

/** What a job says that ends by a fault: the launcher, or a rank that has waited for another. */
const REASONS: Readonly<Record<Fault, RegExp>> = {
  kill: /exited on signal 9|EXIT CODE: 9|a non-zero exit code|could not .+ within 6 s/,
  stop: /could not .+ within 6 s|not all of its processes have come|has not answered for/,
  cut: /lost communication with a remote daemon|could not .+ within 6 s|not all of its processes/,
};

/** What befalls a job, and what came of it. */
export interface Struck {
  readonly fault: Fault;
  readonly rank: number;
  /** Seconds from the fault to the end of the launcher. */
  readonly seconds: number;
  readonly ended: Ended;
  /** What was left of the launcher on the machine that was cut off: none of it trains. */
  readonly left: readonly string[];
}

function start(machines: Machines, launcher: Launcher, args: readonly string[]): Job {
  const [command, ...rest] = args;
  const [mpi, ...others] = FLAGS;
  return machines.start(launcher, program(command, mpi, launcher.library, ...others, ...rest));
}

/** Trains on both machines to the end. */
export async function trainOnBoth(
  machines: Machines,
  launcher: Launcher,
  args: readonly string[],
): Promise<Outcome> {
  const { code, text } = await start(machines, launcher, args).end(WHOLE_SECONDS);
  return { code, stdout: text, stderr: text };
}

/**
 * Trains until something befalls a rank some time after it is there, and sees to it that the whole job ends
 * in time, with an exit code that is none of success, a reason, and no rank left on either machine.
 *
 * @returns Null where the training has ended well before.
 */
export async function strike(
  machines: Machines,
  launcher: Launcher,
  args: readonly string[],
  { fault, rank, after }: { readonly fault: Fault; readonly rank: number; readonly after: number },
): Promise<Struck | null> {
  const job = start(machines, launcher, args);
  const isThere = async () => (await machines.ranks(machines.hosts[rank])).length > 0;
  while (!job.hasEnded && !await isThere()) await pause(20);
  const until = performance.now() + after;
  while (!job.hasEnded && performance.now() < until) await pause(5);
  const run = args[args.findIndex((arg) => ["--out", "--resume"].includes(arg)) + 1];
  const isStruck = !job.hasEnded && !existsSync(join(run, "DONE")) &&
    await machines.strike(fault, rank);
  if (!isStruck) {
    const { code, text } = await job.end(WHOLE_SECONDS);
    assert.equal(code, 0, text);
    return null;
  }
  const struck = performance.now();
  const ended = await job.end(MOST_SECONDS);
  const seconds = (performance.now() - struck) / 1000;
  assert.notEqual(ended.code, 0, ended.text);
  assert.match(ended.text, REASONS[fault]);
  // Those that have waited leave the reason with the run, where there is one already.
  if (fault === "stop" && existsSync(join(run, "config.json"))) {
    const { reason } = JSON.parse(Deno.readTextFileSync(join(run, "failure.json")));
    assert.match(reason, REASONS.stop);
  }
  // A daemon that was sending when its machine was cut off waits until TCP gives up: it has no GPU.
  const ranks = () => Promise.all(machines.hosts.map((host) => machines.ranks(host)));
  await untilNone(
    struck,
    fault === "cut" ? async () => (await ranks()).flat() : () => machines.processes(),
  );
  const left = await machines.processes();
  if (fault === "cut") {
    await machines.sweep();
    await machines.mend();
  }
  await job.closed();
  return { fault, rank, seconds, ended, left };
}

/** What is cut off has to end by itself. */
async function untilNone(since: number, find: () => Promise<readonly unknown[]>): Promise<void> {
  for (;;) {
    const left = await find();
    if (left.length === 0) return;
    const seconds = (performance.now() - since) / 1000;
    assert.ok(seconds < MOST_SECONDS, `left after ${seconds} s: ${left.join("\n")}`);
    await pause(100);
  }
}
