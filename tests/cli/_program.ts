// Runs the program as a task does: in a process of its own, with the task's permissions.

const ROOT = new URL("../../", import.meta.url);

/** What a process left behind. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `deno run … cli/main.ts` with the permissions of the task of the same name. */
export function startProgram(args: readonly string[]): Deno.ChildProcess {
  const { tasks } = JSON.parse(Deno.readTextFileSync(new URL("deno.json", ROOT)));
  const task = tasks[args[0]] ?? tasks.train;
  const [, ...flags] = String(task.command).split(" ").slice(0, -2);
  return new Deno.Command("deno", {
    args: [...flags, "cli/main.ts", ...args],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

/** Runs the program to its end. */
export async function runProgram(...args: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await startProgram(args).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
