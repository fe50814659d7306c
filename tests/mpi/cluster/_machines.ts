// Two machines that are network namespaces of this one, and jobs over both of them.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);
const SCRIPT = fileURLToPath(new URL("machines.sh", import.meta.url));

/** What happens to a rank: it is killed, it stops without a word, or its machine is cut off. */
export const FAULTS = ["kill", "stop", "cut"] as const;
export type Fault = typeof FAULTS[number];

/** Seconds after which Open MPI takes a machine for lost that does not answer; less than ranks wait. */
const LOST_AFTER = 3;

/** What starts two ranks: over TCP, one on each machine, unless it says otherwise. */
export interface Launcher {
  readonly library: string;
  command(machines: Machines): string[];
}

export const OPEN_MPI: Launcher = {
  library: "libmpi.so.40",
  command: ({ hosts }) => [
    ...["mpirun.openmpi", "--allow-run-as-root", "-n", "2"],
    ...["--host", hosts.map((host) => `${host}:1`).join()],
    ...["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"],
    ...["--mca", "plm_rsh_agent", `${SCRIPT} ssh`],
    ...["--mca", "btl_tcp_if_include", "eth0", "--mca", "oob_tcp_if_include", "eth0"],
    // Otherwise it waits for a lost machine as long as TCP does, a quarter of an hour.
    ...["--mca", "oob_tcp_keepalive_time", "1", "--mca", "oob_tcp_keepalive_intvl", "1"],
    ...["--mca", "oob_tcp_keepalive_probes", `${LOST_AFTER - 1}`],
    ...["PATH", "DENO_WEBGPU_BACKEND", "NO_COLOR"].flatMap((name) => ["-x", name]),
  ],
};

/** Both ranks on the first machine, over shared memory. */
export const ONE_MACHINE: Launcher = {
  library: "libmpi.so.40",
  command: () => [
    ...["mpirun.openmpi", "--allow-run-as-root", "-n", "2", "--oversubscribe"],
    ...["--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"],
  ],
};

export const MPICH: Launcher = {
  library: "libmpich.so.12",
  command: ({ hosts }) => [
    ...["mpirun.mpich", "-n", "2", "-ppn", "1", "-hosts", hosts.join()],
    // It takes the name of a program, without arguments.
    ...["-launcher", "rsh", "-launcher-exec", fileURLToPath(new URL("ssh.sh", import.meta.url))],
    // Namespaces share the memory of one machine, by which it would go past their network.
    ...["-genv", "UCX_TLS", "tcp,self", "-genv", "UCX_NET_DEVICES", "eth0"],
  ],
};

/** How a job has ended. */
export interface Ended {
  readonly code: number;
  /** What it has printed, on both outputs. */
  readonly text: string;
}

/** A job that runs. */
export class Job {
  /** Whether its launcher has ended. */
  hasEnded = false;
  readonly #process: Deno.ChildProcess;
  readonly #outputs: Promise<unknown>;
  #text = "";

  constructor(args: string[]) {
    const piped = { stdout: "piped", stderr: "piped", env: { NO_COLOR: "1" } } as const;
    this.#process = new Deno.Command("/bin/sh", { args, cwd: ROOT, ...piped }).spawn();
    this.#process.status.then(() => this.hasEnded = true);
    const { stdout, stderr } = this.#process;
    this.#outputs = Promise.all([stdout, stderr].map(async (output) => {
      const decoder = new TextDecoder();
      for await (const chunk of output) this.#text += decoder.decode(chunk, { stream: true });
    }));
  }

  /**
   * Its end, by which some of what it has started may still be there.
   *
   * @throws If it takes longer than that many seconds, in which case it is killed.
   */
  async end(seconds: number): Promise<Ended> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#process.kill("SIGKILL");
    }, 1000 * seconds);
    const { code } = await this.#process.status;
    clearTimeout(timer);
    // Others may hold its outputs open.
    let grace: ReturnType<typeof setTimeout> | undefined;
    const waited = new Promise((resolve) => grace = setTimeout(resolve, 500));
    await Promise.race([this.#outputs, waited]);
    clearTimeout(grace);
    if (isLate) throw new Error(`the job has not ended within ${seconds} s:\n${this.#text}`);
    return { code, text: this.#text };
  }

  /** The end of all that it has started, as far as that prints. */
  async closed(): Promise<void> {
    await this.#outputs;
  }
}

/** Waits. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The two machines, until they are disposed. */
export class Machines implements AsyncDisposable {
  /** The names of the machines; rank 0 is on the first. */
  readonly hosts: readonly [string, string];
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
    this.hosts = [`${name}a`, `${name}b`];
  }

  /** Makes them. */
  static async make(): Promise<Machines> {
    const name = `proda${Deno.pid}`;
    await script("up", name);
    return new Machines(name);
  }

  /** Starts a command as both ranks, from the first machine. */
  start(launcher: Launcher, command: readonly string[]): Job {
    const args = [SCRIPT, "on", this.hosts[0], "nice", "-n", "5"];
    return new Job([...args, ...launcher.command(this), ...command]);
  }

  /** The processes on a machine that train. */
  async ranks(host: string): Promise<number[]> {
    return (await script("ranks", host)).split("\n").filter(Boolean).map(Number);
  }

  /** All processes on both machines. */
  async processes(): Promise<string[]> {
    return (await script("processes", this.#name)).split("\n").filter(Boolean);
  }

  /** Does that to a rank; false if it is not there. */
  async strike(fault: Fault, rank: number): Promise<boolean> {
    const pids = await this.ranks(this.hosts[rank]);
    if (pids.length === 0) return false;
    if (fault === "cut") await script("link", this.#name, "down");
    else await script("signal", this.hosts[rank], fault === "kill" ? "KILL" : "STOP");
    return true;
  }

  /** Ends all that runs on both machines. */
  async sweep(): Promise<void> {
    await script("sweep", this.#name);
  }

  /** Plugs the cable in again. */
  async mend(): Promise<void> {
    await script("link", this.#name, "up");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await script("down", this.#name);
  }
}

async function script(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", { args: [SCRIPT, ...args] })
    .output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (code !== 0) throw new Error(`machines.sh ${args.join(" ")} has failed: ${errors}`);
  return text;
}

/** The program as users start it. */
export function program(...args: string[]): string[] {
  return [join(fileURLToPath(ROOT), "run"), ...args];
}
