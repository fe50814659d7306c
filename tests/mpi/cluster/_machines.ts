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
  /** What it has printed, standard output first. */
  readonly text: string;
}

/** A job that runs. */
export interface Job {
  /** Its end; a job that does not come to it is killed after that many seconds, and fails the test. */
  end(seconds: number): Promise<Ended>;
  /** Whether it has ended. */
  readonly hasEnded: boolean;
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
    const process = new Deno.Command("/bin/sh", {
      args: [SCRIPT, "on", this.hosts[0], "nice", "-n", "5", ...launcher.command(this), ...command],
      cwd: ROOT,
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    let hasEnded = false;
    const output = process.output().then(({ code, stdout, stderr }) => {
      hasEnded = true;
      const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      return { code, text: text + errors };
    });
    return {
      get hasEnded() {
        return hasEnded;
      },
      end: async (seconds) => {
        let isLate = false;
        const timer = setTimeout(() => {
          isLate = true;
          process.kill("SIGKILL");
        }, 1000 * seconds);
        const ended = await output;
        clearTimeout(timer);
        if (isLate) throw new Error(`the job has not ended within ${seconds} s:\n${ended.text}`);
        return ended;
      },
    };
  }

  /** The processes of Deno on a machine. */
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
