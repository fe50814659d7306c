// Runs the program as a task does: in a process of its own, with the task's permissions.

import { fileURLToPath } from "node:url";

const ROOT = new URL("../../", import.meta.url);

/** What a process left behind. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where a program runs that is not this checkout's, in its root. */
export interface Place {
  /** The folder that holds the code; this checkout's unless given. */
  readonly root?: URL;
  /** The folder it runs in; the code's unless given. */
  readonly cwd?: string | URL;
  /** Flags of `deno run`; those of the task unless given. */
  readonly permissions?: readonly string[];
}

/** The arguments of `deno` that run a command as the task of the same name does. */
function argumentsOf(
  args: readonly string[],
  { root = ROOT, permissions }: Place,
): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
  const task = tasks[args[0]] ?? tasks.train;
  const [, ...flags] = permissions
    ? ["deno", "run", ...permissions]
    : String(task.command).split(" ").slice(0, -2);
  const path = (name: string) => fileURLToPath(new URL(name, root));
  return [...flags, "--config", path("deno.json"), path("cli/main.ts"), ...args];
}

/** Starts `deno run … cli/main.ts` with the permissions of the task of the same name. */
export function startProgram(
  args: readonly string[],
  place: Place = {},
): Deno.ChildProcess {
  return new Deno.Command("deno", {
    args: argumentsOf(args, place),
    cwd: place.cwd ?? place.root ?? ROOT,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

/** Runs the program where a line of the shell says `"$@"`, such as at one end of a pipe. */
export async function runInShell(line: string, ...args: string[]): Promise<Outcome> {
  const shell = new Deno.Command("/bin/sh", {
    args: ["-c", line, "sh", "deno", ...argumentsOf(args, {})],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  return decoded(await shell.output());
}

function decoded({ code, stdout, stderr }: Deno.CommandOutput): Outcome {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs the program to its end. */
export function runProgram(...args: string[]): Promise<Outcome> {
  return runProgramIn({}, ...args);
}

/** Runs the program of some place to its end. */
export async function runProgramIn(place: Place, ...args: string[]): Promise<Outcome> {
  return decoded(await startProgram(args, place).output());
}
